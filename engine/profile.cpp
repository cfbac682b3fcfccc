#include "engine/profile.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <fstream>
#include <map>
#include <mutex>
#include <ostream>
#include <vector>

#include "engine/check.hpp"

namespace simsmoe::profile {

namespace {

using Key = std::pair<std::string_view, Phase>;
struct Total {
  std::int64_t calls = 0, ns = 0;
};
struct Event {
  Key key;
  std::int64_t start_ns, duration_ns;
};

std::atomic<bool> on{false};
std::mutex mutex;
bool keep = false;
std::map<Key, Total> totals;
std::vector<Event> events;

std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

std::string_view name_of(Phase phase) {
  static constexpr std::array<std::string_view, 3> names{"forward", "backward", "other"};
  return names[static_cast<std::size_t>(phase)];
}

}  // namespace

bool enabled() { return on.load(std::memory_order_relaxed); }

void start(bool keep_events) {
  const std::lock_guard lock(mutex);
  totals.clear();
  events.clear();
  keep = keep_events;
  on = true;
}

void stop() { on = false; }

void Scope::begin(std::string_view name, Phase phase) {
  name_ = name;
  phase_ = phase;
  active_ = true;
  start_ns_ = now_ns();
}

void Scope::end() {
  const std::int64_t duration = now_ns() - start_ns_;
  const std::lock_guard lock(mutex);
  Total& total = totals[{name_, phase_}];
  ++total.calls;
  total.ns += duration;
  if (keep) events.push_back({{name_, phase_}, start_ns_, duration});
}

void print_table(std::ostream& out) {
  const std::lock_guard lock(mutex);
  std::vector<std::pair<Key, Total>> rows(totals.begin(), totals.end());
  std::ranges::stable_sort(rows, [](const auto& a, const auto& b) { return a.second.ns > b.second.ns; });
  std::int64_t all = 0;
  for (const auto& [key, total] : rows) all += total.ns;
  all = std::max<std::int64_t>(all, 1);
  out << fmt::format("{:<28} {:<9} {:>8} {:>11} {:>11} {:>7}\n", "op", "phase", "calls", "total ms",
                     "mean us", "share");
  for (const auto& [key, total] : rows) {
    const double ns = static_cast<double>(total.ns);
    out << fmt::format("{:<28} {:<9} {:>8} {:>11.2f} {:>11.2f} {:>6.1f}%\n", key.first, name_of(key.second),
                       total.calls, ns * 1e-6, ns * 1e-3 / static_cast<double>(total.calls),
                       100.0 * ns / static_cast<double>(all));
  }
}

void write_chrome_trace(const std::string& path) {
  const std::lock_guard lock(mutex);
  std::ofstream file(path);
  file << "{\"traceEvents\":[\n";
  const std::int64_t origin = events.empty() ? 0 : std::ranges::min(events, {}, &Event::start_ns).start_ns;
  for (std::size_t i = 0; i < events.size(); ++i) {
    const Event& e = events[i];
    file << fmt::format(R"({}{{"name":"{}","cat":"{}","ph":"X","pid":1,"tid":1,"ts":{:.3f},"dur":{:.3f}}})",
                        i == 0 ? "" : ",\n", e.key.first, name_of(e.key.second),
                        static_cast<double>(e.start_ns - origin) * 1e-3,
                        static_cast<double>(e.duration_ns) * 1e-3);
  }
  file << "\n]}\n";
  file.close();
  SMX_CHECK(file.good(), "[profile] cannot write {}", path);
}

}  // namespace simsmoe::profile
