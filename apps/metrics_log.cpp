// Appending lines, and dropping those behind a checkpoint.

#include "apps/metrics_log.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string_view>

#include <nlohmann/json.hpp>

#include "engine/check.hpp"
#include "engine/file.hpp"

namespace simsmoe::app {

namespace {

// The lines of `text` that are whole and not behind `step`, each told to `take`. Lines are in the order of their steps.
template <class F>
std::string_view lines_until(std::string_view text, std::int64_t step, const F& take) {
  std::size_t end = 0;
  while (end < text.size()) {
    const std::size_t newline = text.find('\n', end);
    if (newline == std::string_view::npos) break;
    const auto line = nlohmann::ordered_json::parse(text.substr(end, newline - end), nullptr, false);
    if (!line.is_object() || line.value("step", step + 1) > step) break;
    take(line);
    end = newline + 1;
  }
  return text.substr(0, end);
}

}  // namespace

MetricsLog::MetricsLog(std::string path, std::int64_t step) : path_(std::move(path)) {
  if (std::filesystem::exists(path_)) {
    const std::string text = read_file(path_);
    const std::string_view kept = lines_until(text, step, [&](const auto& line) { count(line); });
    if (kept.size() != text.size()) replace_file(path_, std::span(&kept, 1));
  }
  file_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (file_ < 0) throw UserError(fmt::format("cannot write {}: {}", path_, std::strerror(errno)));
}

void MetricsLog::count(const nlohmann::ordered_json& line) {
  const auto tokens = line.find("tokens"), speed = line.find("tokens_per_s");
  if (tokens == line.end() || speed == line.end() || !tokens->is_number() || !speed->is_number()) return;
  training_seconds_ += (tokens->get<double>() - tokens_) / speed->get<double>();
  tokens_ = *tokens;
}

MetricsLog::~MetricsLog() { ::close(file_); }

void MetricsLog::append(const nlohmann::ordered_json& line) {
  const std::string text = line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  struct stat before {};
  const bool known = ::fstat(file_, &before) == 0;
  count(line);
  const ::ssize_t written = ::write(file_, text.data(), text.size());
  if (written == static_cast<::ssize_t>(text.size())) return;
  const std::string reason = written < 0 ? std::strerror(errno) : "the disk is full";
  if (known && written > 0 && ::ftruncate(file_, before.st_size) != 0)
    throw UserError(fmt::format("cannot write {}: {}; its last line is cut off", path_, reason));
  throw UserError(fmt::format("cannot write {}: {}", path_, reason));
}

}  // namespace simsmoe::app
