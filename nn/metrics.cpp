// Values stay where they are until they are read together.

#include "nn/metrics.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/index_fault.hpp"
#include "ops/layout.hpp"
#include "ops/unary.hpp"

namespace simsmoe::nn {

namespace {

double combined(Combine how, const std::vector<double>& values, int passes) {
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  switch (how) {
    case Combine::mean:
      return sum / static_cast<double>(values.size());
    case Combine::per_pass:
      return sum / std::max(passes, 1);
    case Combine::sum:
      return sum;
    case Combine::max:
      return std::isnan(sum) ? sum : *std::ranges::max_element(values);
    case Combine::last:
      break;
  }
  return values.back();
}

}  // namespace

Metrics Metrics::of_no_pass() {
  Metrics none;
  none.passes_ = 0;
  return none;
}

Metrics::Entry& Metrics::entry(const std::string& where, const std::string& name, Combine how) {
  const auto known = std::ranges::find_if(
      entries_, [&](const Entry& entry) { return entry.where == where && entry.name == name; });
  if (known == entries_.end()) return entries_.emplace_back(Entry{where, name, how, {}});
  SMX_CHECK(known->how == how, "[metrics] '{}' of '{}' is combined in two ways", name, where);
  return *known;
}

void Metrics::add(const std::string& where, const std::string& name, double value, Combine how) {
  add(where, name, Tensor::scalar(value), how);
}

void Metrics::add(const std::string& where, const std::string& name, const Tensor& value, Combine how,
                  double factor) {
  SMX_CHECK(value.defined() && is_float(value.dtype()) && value.numel() > 0,
            "[metrics] expected floats for '{}', got {}", name, describe(value));
  std::vector<Value>& values = entry(where, name, how).values;
  SMX_CHECK(values.empty() || values.front().value.numel() == value.numel(),
            "[metrics] '{}' of '{}' has {} elements, and had {}", name, where, value.numel(),
            values.front().value.numel());
  values.push_back({value.view({value.numel()}).clone(), factor});
}

void Metrics::merge(const Metrics& next) {
  for (const Entry& theirs : next.entries_) {
    std::vector<Value>& mine = entry(theirs.where, theirs.name, theirs.how).values;
    mine.insert(mine.end(), theirs.values.begin(), theirs.values.end());
  }
  passes_ += next.passes_;
}

void Metrics::gather(const std::string& where, const std::string& name) {
  for (std::size_t i = 0, before = entries_.size(); i < before; ++i) {
    if (entries_[i].name != name || entries_[i].where == where) continue;
    const std::vector<Value> theirs = entries_[i].values;
    std::vector<Value>& mine = entry(where, name, entries_[i].how).values;
    mine.insert(mine.end(), theirs.begin(), theirs.end());
  }
}

std::map<std::string, double> Metrics::read() const {
  std::vector<double> none;
  return read({}, none);
}

std::map<std::string, double> Metrics::read(const std::vector<Tensor>& besides,
                                            std::vector<double>& numbers_of_these) const {
  std::vector<Tensor> scalars = besides;
  for (const Entry& entry : entries_)
    for (const Value& value : entry.values) scalars.push_back(value.value);
  const std::vector<double> numbers = read_scalars(scalars);
  std::map<std::string, double> all;
  auto next = numbers.begin() + std::ssize(besides);
  numbers_of_these.assign(numbers.begin(), next);
  for (const Entry& entry : entries_) {
    const std::int64_t size = entry.values.front().value.numel();
    std::vector<std::vector<double>> elements(static_cast<std::size_t>(size));
    for (const Value& value : entry.values)
      for (std::vector<double>& values : elements) values.push_back(value.factor * *next++);
    const std::string key = entry.where.empty() ? entry.name : fmt::format("{}/{}", entry.where, entry.name);
    for (std::size_t i = 0; i < elements.size(); ++i)
      all[size == 1 ? key : fmt::format("{}.{}", key, i)] = combined(entry.how, elements[i], passes_);
  }
  return all;
}

std::vector<double> read_scalars(const std::vector<Tensor>& tensors) {
  std::vector<double> numbers;
  std::vector<Device> devices;
  std::vector<std::size_t> begins;
  for (const Tensor& tensor : tensors) {
    if (std::ranges::find(devices, tensor.device()) == devices.end()) devices.push_back(tensor.device());
    begins.push_back(numbers.size());
    numbers.resize(numbers.size() + static_cast<std::size_t>(tensor.numel()));
  }
  for (const Device device : devices) {
    Variables together;
    std::vector<std::size_t> places;  // in `numbers`, of the elements that are read here
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      if (tensors[i].device() != device) continue;
      together.push_back(ops::cast(Variable(tensors[i].view({tensors[i].numel()})), DType::f64));
      for (std::size_t at = 0; at < static_cast<std::size_t>(tensors[i].numel()); ++at)
        places.push_back(begins[i] + at);
    }
    const Tensor note = noted_index_fault(device);
    if (note.defined()) together.push_back(Variable(note.to(DType::f64)));
    const std::vector<double> read = ops::concat(together, 0).value().to_vector<double>();
    for (std::size_t i = 0; i < places.size(); ++i) numbers[places[i]] = read[i];
    if (!note.defined()) continue;
    const auto word = [&](std::size_t i) { return static_cast<std::int64_t>(read[places.size() + i]); };
    throw_index_fault(device, {.op = word(0), .place = word(1), .value = word(2), .size = word(3)});
  }
  return numbers;
}

}  // namespace simsmoe::nn
