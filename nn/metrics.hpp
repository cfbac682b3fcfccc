#pragma once
// Numbers that a step or a layer wants logged, each with how several values of it become one. They may be scalars on a
// device: nothing is read back until read().

#include <map>
#include <string>
#include <vector>

#include "engine/tensor.hpp"

namespace simsmoe::nn {

// Of the values that the layers and the passes of a step (its micro-batches) have added.
enum class Combine : unsigned char {
  mean,      // of those that there are
  per_pass,  // their sum over the number of passes: a part of a loss, which some passes lack
  sum,
  last,
  max  // NaN when there is one
};

class Metrics {
 public:
  Metrics() = default;  // of one pass
  // Of no pass yet: what those of several passes are merged into.
  static Metrics of_no_pass();

  // Of this pass. `where` is the path of a layer, or "train", "valid" for what belongs to the whole model. A name has
  // one way to combine. value: float, any shape, which is copied; always of one size under one name.
  void add(const std::string& where, const std::string& name, double value, Combine how);
  void add(const std::string& where, const std::string& name, const Tensor& value, Combine how,
           double factor = 1.0);

  // Adds those of a later pass.
  void merge(const Metrics& next);
  // Adds, under `where`, all values that others have under this name.
  void gather(const std::string& where, const std::string& name);

  bool empty() const { return entries_.empty(); }
  // All values, by "where/name", or "name" where that is empty, and those of several elements by "where/name.0",
  // "where/name.1"...: one copy from the device, however many there are.
  std::map<std::string, double> read() const;
  // The same, and in the same copy the numbers of other scalars.
  std::map<std::string, double> read(const std::vector<Tensor>& besides,
                                     std::vector<double>& numbers_of_these) const;

 private:
  struct Value {
    Tensor value;  // [n]
    double factor;
  };
  struct Entry {
    std::string where, name;
    Combine how;
    std::vector<Value> values;
  };
  Entry& entry(const std::string& where, const std::string& name, Combine how);

  std::vector<Entry> entries_;
  int passes_ = 1;
};

// The elements of float tensors, one tensor after the other, by one copy from each device. Throws Error when a kernel there
// found an index outside of its range (engine/index_fault.hpp).
std::vector<double> read_scalars(const std::vector<Tensor>& tensors);

}  // namespace simsmoe::nn
