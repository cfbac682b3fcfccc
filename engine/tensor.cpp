#include "engine/tensor.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "engine/caching_allocator.hpp"
#include "engine/convert.hpp"

namespace simsmoe {

Storage::Storage(std::size_t bytes, Device device)
    : data_(allocator(device).allocate(bytes)), bytes_(bytes), device_(device) {}

Storage::~Storage() { allocator(device_).deallocate(data_, bytes_); }

Tensor Tensor::empty(Shape shape, DType dtype, Device device) {
  SMX_CHECK(
      shape.numel() <= std::numeric_limits<std::int64_t>::max() / static_cast<std::int64_t>(size_of(dtype)),
      "[tensor] the size of {} {} overflows", name_of(dtype), shape);
  Tensor t;
  t.shape_ = shape;
  t.dtype_ = dtype;
  t.storage_ = std::make_shared<Storage>(t.bytes(), device);
#ifndef NDEBUG
  runtime(device).fill_bytes(t.raw_data(), 0xff, t.bytes());  // all ones is a NaN in every float format
#endif
  return t;
}

Tensor Tensor::zeros(Shape shape, DType dtype, Device device) {
  Tensor t = empty(shape, dtype, device);
  runtime(device).fill_bytes(t.raw_data(), 0, t.bytes());
  return t;
}

Tensor Tensor::full(Shape shape, double value, DType dtype, Device device) {
  Tensor t = empty(shape, dtype, device);
  t.fill(value);
  return t;
}

Tensor Tensor::from_host(const void* values, std::size_t count, Shape shape, DType dtype, Device device) {
  SMX_CHECK(static_cast<std::int64_t>(count) == shape.numel(), "[tensor] {} values for shape {}", count,
            shape);
  Tensor t = empty(shape, dtype, device);
  runtime(device).copy(t.raw_data(), device, values, kCpu, t.bytes());
  return t;
}

Storage& Tensor::storage() const {
  SMX_CHECK(defined(), "[tensor] undefined tensor");
  return *storage_;
}

Device Tensor::device() const { return storage().device(); }

void* Tensor::raw_data() const {
  return static_cast<std::byte*>(storage().data()) + static_cast<std::size_t>(offset_) * size_of(dtype_);
}

void* Tensor::raw(DType wanted) const {
  SMX_CHECK(wanted == dtype_, "[tensor] read as {} but it holds {}", name_of(wanted), describe(*this));
  return raw_data();
}

template <class T>
std::vector<T> Tensor::to_vector() const {
  const Tensor here = to(kCpu);
  std::vector<T> values(static_cast<std::size_t>(numel()));
  for_dtype(dtype_, [&]<class S>() {
    std::ranges::transform(here.host<const S>(), values.begin(), [](S x) { return converted<T>(x); });
  });
  return values;
}

template std::vector<float> Tensor::to_vector() const;
template std::vector<double> Tensor::to_vector() const;
template std::vector<bf16> Tensor::to_vector() const;
template std::vector<std::int32_t> Tensor::to_vector() const;
template std::vector<std::int64_t> Tensor::to_vector() const;
template std::vector<std::uint8_t> Tensor::to_vector() const;

double Tensor::item() const {
  SMX_CHECK(defined() && numel() == 1, "[tensor] item() needs exactly one element, got {}", describe(*this));
  return to_vector<double>().front();
}

Tensor Tensor::view(Shape shape) const {
  SMX_CHECK(shape.numel() == numel(), "[view] {} does not fit {}", shape, describe(*this));
  Tensor t = *this;
  t.shape_ = shape;
  return t;
}

Tensor Tensor::slice0(std::int64_t begin, std::int64_t end) const {
  SMX_CHECK(rank() >= 1 && 0 <= begin && begin <= end && end <= size(0), "[slice0] rows [{}, {}) of {}",
            begin, end, describe(*this));
  Tensor t = *this;
  t.shape_ = shape_.with(0, end - begin);
  t.offset_ += begin * shape_.inner(0);
  return t;
}

Tensor Tensor::to(Device target) const {
  if (target == device()) return *this;
  Tensor t = empty(shape_, dtype_, target);
  t.copy_from(*this);
  return t;
}

Tensor Tensor::to(DType target) const {
  if (target == dtype_) return *this;
  Tensor t = empty(shape_, target, device());
  SMX_DISPATCH(convert, device(), *this, t);
  return t;
}

Tensor Tensor::clone() const {
  Tensor t = empty_like(*this);
  t.copy_from(*this);
  return t;
}

void Tensor::copy_from(const Tensor& source) const {
  SMX_CHECK(shape_ == source.shape_ && dtype_ == source.dtype_, "[copy_from] {} into {}", describe(source),
            describe(*this));
  note_change();
  const Device place = device().is_cuda() ? device() : source.device();  // a GPU runtime knows both sides
  runtime(place).copy(raw_data(), device(), source.raw_data(), source.device(), bytes());
}

void Tensor::fill(double value) const {
  if (!device().is_cpu()) return copy_from(full(shape_, value, dtype_));
  for_dtype(dtype_, [&]<class T>() { std::ranges::fill(host<T>(), static_cast<T>(value)); });
}

std::string describe(const Tensor& t) {
  if (!t.defined()) return "undefined tensor";
  return fmt::format("{} {}{}", name_of(t.dtype()), t.shape(),
                     t.device().is_cpu() ? "" : " on " + t.device().to_string());
}

std::string to_string(const Tensor& t) {
  constexpr std::size_t kShown = 8;
  std::string text = describe(t);
  if (!t.defined()) return text;
  const std::vector<double> values = t.to_vector<double>();
  text += " {";
  for (std::size_t i = 0; i < std::min(values.size(), kShown); ++i)
    text += fmt::format("{}{:.6g}", i == 0 ? "" : ", ", values[i]);
  return text + (values.size() > kShown ? ", ...}" : "}");
}

bool all_finite(const Tensor& t) {
  if (!is_float(t.dtype())) return true;
  const Tensor here = t.to(kCpu);
  return for_float_dtype(t.dtype(), [&]<class T>() {
    return std::ranges::all_of(here.host<const T>(),
                               [](T x) { return std::isfinite(static_cast<acc_t<T>>(x)); });
  });
}

}  // namespace simsmoe
