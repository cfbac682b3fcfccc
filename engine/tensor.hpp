#pragma once
// A tensor is memory: a handle to contiguous, row-major elements. Copying a Tensor shares the memory; clone()
// copies it. There are no strides: transposition is a flag of matmul, broadcasting a plan inside `binary`.
// What has a history and a gradient is a Variable (engine/tape.hpp).

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "engine/device.hpp"
#include "engine/dtype.hpp"
#include "engine/shape.hpp"

namespace simsmoe {

// One block of a device's memory; freed with its last owner.
class Storage {
 public:
  Storage(std::size_t bytes, Device device);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  Device device() const { return device_; }
  // How often elements that may have been read before were written over.
  std::uint64_t version() const { return version_.load(std::memory_order_relaxed); }
  void note_change() { version_.fetch_add(1, std::memory_order_relaxed); }

 private:
  void* data_;
  std::size_t bytes_;
  Device device_;
  std::atomic<std::uint64_t> version_{0};
};

// A tensor as it was when a closure captured it. The closure keeps the storage alive.
struct SavedTensor {
  const Storage* storage;
  std::uint64_t version;
  Shape shape;
  DType dtype;
};

#ifndef NDEBUG
namespace detail {
// While set, every Tensor that is copied on this thread is noted here: copying a closure lists what it has captured.
inline thread_local std::vector<SavedTensor>* copied_tensors = nullptr;
}  // namespace detail
#endif

class Tensor {
 public:
  Tensor() = default;  // undefined: no memory; defined() is false
#ifndef NDEBUG
  Tensor(const Tensor& other)
      : storage_(other.storage_), offset_(other.offset_), shape_(other.shape_), dtype_(other.dtype_) {
    if (detail::copied_tensors != nullptr && defined())
      detail::copied_tensors->push_back({storage_.get(), version(), shape_, dtype_});
  }
  Tensor(Tensor&&) noexcept = default;
  Tensor& operator=(const Tensor&) = default;
  Tensor& operator=(Tensor&&) noexcept = default;
  ~Tensor() = default;
#endif

  // Uninitialised; debug builds fill floats with NaN and integers with all ones.
  static Tensor empty(Shape shape, DType dtype, Device device = kCpu);
  static Tensor empty_like(const Tensor& other) {
    return empty(other.shape(), other.dtype(), other.device());
  }
  static Tensor zeros(Shape shape, DType dtype, Device device = kCpu);
  static Tensor zeros_like(const Tensor& other) {
    return zeros(other.shape(), other.dtype(), other.device());
  }
  static Tensor full(Shape shape, double value, DType dtype, Device device = kCpu);
  // Copies host values; the dtype of the tensor is that of T.
  template <class T>
  static Tensor from(std::span<const T> values, Shape shape, Device device = kCpu) {
    return from_host(values.data(), values.size(), shape, dtype_of<T>(), device);
  }
  template <class T>
  static Tensor from(const std::vector<T>& values, Shape shape, Device device = kCpu) {
    return from(std::span<const T>(values), shape, device);
  }
  template <class T>
  static Tensor scalar(T value) {
    return from(std::span<const T>(&value, 1), Shape{});
  }

  bool defined() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  std::int64_t size(int axis) const { return shape_[axis]; }
  int rank() const { return shape_.rank(); }
  std::int64_t numel() const { return shape_.numel(); }
  std::size_t bytes() const { return static_cast<std::size_t>(numel()) * size_of(dtype_); }
  DType dtype() const { return dtype_; }
  Device device() const;

  // The elements, for kernels. Throws when T is not the dtype or the tensor is undefined. A kernel that writes into
  // a tensor that existed before calls note_change(); one that fills fresh memory, or a GradTarget, need not.
  template <class T>
  T* data() const {
    return static_cast<T*>(raw(dtype_of<T>()));
  }
  void* raw_data() const;  // untyped, for copies

  // The elements of a CPU tensor as a span: host<const T>() to read them; host<T>(), to write, raises the version.
  template <class T>
  std::span<T> host() const {
    SMX_CHECK(device().is_cpu(), "[tensor] host() of a tensor on {}", device().to_string());
    T* const elements = data<std::remove_const_t<T>>();
    if constexpr (!std::is_const_v<T>) note_change();
    return {elements, static_cast<std::size_t>(numel())};
  }
  // A copy of the elements on the host, converted to T; any dtype, any device.
  template <class T>
  std::vector<T> to_vector() const;
  // The value of a one-element tensor.
  double item() const;

  Tensor view(Shape shape) const;  // same memory, same number of elements
  // Rows [begin, end) of the first axis: same memory.
  Tensor slice0(std::int64_t begin, std::int64_t end) const;
  Tensor to(Device device) const;  // itself when it is there already
  Tensor to(DType dtype) const;    // itself when it has the dtype already; else converted where it lives
  Tensor clone() const;
  void copy_from(const Tensor& source) const;  // same shape and dtype, any device
  void fill(double value) const;

  // How often the memory was changed, through any of the tensors that share it. Debug builds compare it between
  // forward and backward (engine/tape.hpp). fill(), copy_from() and host<T>() raise it.
  std::uint64_t version() const { return storage().version(); }
  void note_change() const { storage().note_change(); }

  bool shares_memory_with(const Tensor& other) const { return defined() && storage_ == other.storage_; }

 private:
  static Tensor from_host(const void* values, std::size_t count, Shape shape, DType dtype, Device device);
  void* raw(DType wanted) const;
  Storage& storage() const;  // throws when undefined

  std::shared_ptr<Storage> storage_;
  std::int64_t offset_ = 0;  // in elements
  Shape shape_;
  DType dtype_ = DType::f32;
};

// "f32 [3, 7]", with the device unless it is the CPU: for error messages.
std::string describe(const Tensor& tensor);
// The values too, shortened: for printing.
std::string to_string(const Tensor& tensor);
// True when every element is finite (integers always are). Any device.
bool all_finite(const Tensor& tensor);

}  // namespace simsmoe
