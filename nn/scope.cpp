// The store creates or adopts, the scope joins names.

#include "nn/scope.hpp"

#include <algorithm>

namespace simsmoe::nn {

ParameterStore::ParameterStore(std::uint64_t seed, DType dtype, Device device)
    : seed_(seed), dtype_(dtype), device_(device) {
  SMX_CHECK(is_float(dtype), "[store] expected a float dtype for parameters, got {}", name_of(dtype));
}

void ParameterStore::preload(std::vector<NamedTensor> tensors) {
  SMX_CHECK(parameters_.empty() && buffers_.empty(), "[store] preload() comes before the model is built");
  for (NamedTensor& entry : tensors) {
    SMX_CHECK(!preloaded_.contains(entry.name), "[store] tensor '{}' is preloaded twice", entry.name);
    preloaded_.emplace(std::move(entry.name), std::move(entry.tensor));
  }
  has_preloaded_ = true;
}

LoadReport ParameterStore::load_report() const {
  LoadReport report{loaded_, initialised_, {}};
  for (const auto& entry : preloaded_) report.ignored.push_back(entry.first);
  return report;
}

const Parameter* ParameterStore::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &parameters_[found->second];
}

void ParameterStore::clear_grads() const {
  for (const Parameter& parameter : parameters_) parameter.variable.clear_grad();
}

std::int64_t ParameterStore::num_elements(bool trainable_only) const {
  std::int64_t sum = 0;
  for (const Parameter& parameter : parameters_)
    if (parameter.options.trainable || !trainable_only) sum += parameter.variable.value().numel();
  return sum;
}

void ParameterStore::check_new(const std::string& name) const {
  const bool is_buffer =
      std::ranges::any_of(buffers_, [&](const NamedTensor& buffer) { return buffer.name == name; });
  SMX_CHECK(!is_buffer && !index_.contains(name), "[store] '{}' exists already", name);
}

Tensor ParameterStore::claim(const std::string& name, const Shape& shape, DType dtype) {
  if (!has_preloaded_) return {};
  const auto found = preloaded_.find(name);
  if (found == preloaded_.end()) {
    if (!require_preloaded_) return {};
    throw UserError(fmt::format("checkpoint is of another model: it lacks tensor {} {}", name, shape));
  }
  const Tensor tensor = found->second;
  if (tensor.shape() != shape)
    throw UserError(fmt::format("checkpoint is of another model: tensor {} is {} there and {} here", name,
                                tensor.shape(), shape));
  preloaded_.erase(found);
  const Tensor here = tensor.to(dtype).to(device_);
  return here.shares_memory_with(tensor) ? here.clone() : here;
}

Tensor ParameterStore::claim_or_init(const std::string& name, const Shape& shape, DType dtype,
                                     const Init& init) {
  check_new(name);
  Tensor tensor = claim(name, shape, dtype);
  (tensor.defined() ? loaded_ : initialised_).push_back(name);
  if (!tensor.defined()) tensor = init(shape, dtype, RandomKey{seed_, stream_of(name)}).to(device_);
  SMX_CHECK(tensor.shape() == shape && tensor.dtype() == dtype,
            "[store] initialiser of '{}' made {}, not {} {}", name, describe(tensor), name_of(dtype), shape);
  return tensor;
}

Variable ParameterStore::create(std::string name, const Shape& shape, const Init& init,
                                ParameterOptions options) {
  Tensor value = claim_or_init(name, shape, dtype_, init);
  index_.emplace(name, parameters_.size());
  parameters_.push_back({Variable(std::move(value), options.trainable, std::move(name)), options});
  return parameters_.back().variable;
}

Tensor ParameterStore::create_buffer(std::string name, const Shape& shape, DType dtype, const Init& init) {
  Tensor tensor = claim_or_init(name, shape, dtype, init);
  buffers_.push_back({std::move(name), tensor});
  return tensor;
}

Scope Scope::operator/(std::string_view child) const { return Scope(*store_, join(child)); }

Variable Scope::parameter(std::string_view name, const Shape& shape, const Init& init,
                          ParameterOptions options) const {
  return store_->create(join(name), shape, init, options);
}

Tensor Scope::buffer(std::string_view name, const Shape& shape, DType dtype, double value) const {
  return buffer(name, shape, dtype,
                [value](const Shape& s, DType d, RandomKey) { return Tensor::full(s, value, d); });
}

Tensor Scope::buffer(std::string_view name, const Shape& shape, DType dtype, const Init& init) const {
  return store_->create_buffer(join(name), shape, dtype, init);
}

RandomKey Scope::key(std::string_view name) const { return {store_->seed(), stream_of(join(name))}; }

std::string Scope::join(std::string_view name) const {
  SMX_CHECK(!name.empty(), "[scope] empty name under '{}'", path_);
  return path_.empty() ? std::string(name) : fmt::format("{}.{}", path_, name);
}

}  // namespace simsmoe::nn
