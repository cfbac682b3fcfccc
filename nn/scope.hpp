#pragma once
// Where parameters come from. A module asks its Scope for a parameter by name; the store behind it creates
// it, or adopts the tensor that a checkpoint brought. So every parameter has a full dotted name, a random
// stream of its own and a place in the checkpoint; none can be forgotten, and modules need no registry.
// Loading is constructing.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/philox.hpp"
#include "engine/safetensors.hpp"
#include "engine/tape.hpp"

namespace simsmoe::nn {

// Fills a new parameter: a function of (key, shape) computed on the host in f64. See nn/init.hpp.
using Init = std::function<Tensor(const Shape& shape, DType dtype, RandomKey key)>;

struct ParameterOptions {
  bool trainable = true;  // false: frozen; no gradient, no optimizer state, saved in checkpoints all the same
  bool decay = true;      // subject to weight decay (weights yes; biases, norms and embeddings no)
};

struct Parameter {
  Variable variable;  // its name() is the full dotted name
  ParameterOptions options;
};

// What became of a preload, by name: tensors that were adopted, drawn anew because the file lacks them, and left over
// because nobody asked for them.
struct LoadReport {
  std::vector<std::string> loaded, initialised, ignored;
};

// Owns the parameters (learned or frozen) and buffers (state that is saved but has no gradient: counters,
// biases).
class ParameterStore {
 public:
  explicit ParameterStore(std::uint64_t seed, DType dtype = DType::f32, Device device = kCpu);
  ParameterStore(const ParameterStore&) = delete;
  ParameterStore& operator=(const ParameterStore&) = delete;

  // Tensors that later parameter() and buffer() calls adopt (as a copy, in the dtype they ask for) instead of
  // initialising. Another shape there throws UserError.
  void preload(std::vector<NamedTensor> tensors);
  // After preload(), parameters that are not among the preloaded tensors throw UserError when this is on
  // (default), else they are initialised (fine-tuning).
  void require_preloaded(bool on) { require_preloaded_ = on; }
  // After construction. check_all_claimed() of nn/checkpoint.hpp refuses what was ignored.
  LoadReport load_report() const;

  const std::vector<Parameter>& parameters() const { return parameters_; }  // in order of creation
  const std::vector<NamedTensor>& buffers() const { return buffers_; }
  const Parameter* find(std::string_view name) const;  // nullptr when absent
  void clear_grads() const;
  std::int64_t num_elements(bool trainable_only = false) const;

  std::uint64_t seed() const { return seed_; }
  DType dtype() const { return dtype_; }
  Device device() const { return device_; }

 private:
  friend class Scope;
  Variable create(std::string name, const Shape& shape, const Init& init, ParameterOptions options);
  Tensor create_buffer(std::string name, const Shape& shape, DType dtype, const Init& init);
  void check_new(const std::string& name) const;
  // The preloaded tensor of that name, or what `init` makes, in this dtype and on the device.
  Tensor claim_or_init(const std::string& name, const Shape& shape, DType dtype, const Init& init);
  Tensor claim(const std::string& name, const Shape& shape, DType dtype);  // undefined: there is none

  std::uint64_t seed_;
  DType dtype_;
  Device device_;
  std::vector<Parameter> parameters_;
  std::vector<NamedTensor> buffers_;
  std::map<std::string, std::size_t, std::less<>> index_;
  std::map<std::string, Tensor> preloaded_;        // what nobody has claimed yet
  std::vector<std::string> loaded_, initialised_;  // in order of creation
  bool require_preloaded_ = true;
  bool has_preloaded_ = false;
};

// A path into a store: cheap to copy. Names are unique; asking twice for one name throws.
class Scope {
 public:
  explicit Scope(ParameterStore& store, std::string path = {}) : store_(&store), path_(std::move(path)) {}

  Scope operator/(std::string_view child) const;  // scope / "layers.3" / "attention"
  Variable parameter(std::string_view name, const Shape& shape, const Init& init,
                     ParameterOptions options = {}) const;
  Tensor buffer(std::string_view name, const Shape& shape, DType dtype, double value = 0.0) const;
  // Filled by `init`, which may draw: a table that must survive a restart.
  Tensor buffer(std::string_view name, const Shape& shape, DType dtype, const Init& init) const;
  RandomKey key(std::string_view name) const;  // for dropout and noise
  const std::string& path() const { return path_; }
  ParameterStore& store() const { return *store_; }

 private:
  std::string join(std::string_view name) const;
  ParameterStore* store_;
  std::string path_;
};

}  // namespace simsmoe::nn
