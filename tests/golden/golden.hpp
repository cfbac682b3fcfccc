#pragma once
// How the golden tests measure: |ours - theirs| / |theirs| in the Euclidean norm of a tensor, and the tensors
// of a golden file below a prefix.

#include <doctest/doctest.h>

#include <cmath>
#include <string_view>
#include <vector>

#include "engine/safetensors.hpp"

namespace simsmoe {

// Where theirs is 0, |ours|.
inline double relative_error(const Tensor& ours, const Tensor& theirs) {
  REQUIRE(ours.shape() == theirs.shape());
  const auto a = ours.to_vector<double>(), b = theirs.to_vector<double>();
  double difference = 0.0, norm = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    norm += b[i] * b[i];
  }
  return std::sqrt(norm > 0.0 ? difference / norm : difference);
}

inline double relative_error(double ours, double theirs) {
  return std::abs(ours - theirs) / std::abs(theirs);
}

// The tensors of `file` whose name begins with `prefix`, without it.
inline std::vector<NamedTensor> part(const TensorFile& file, std::string_view prefix) {
  std::vector<NamedTensor> found;
  for (const NamedTensor& entry : file.tensors)
    if (entry.name.starts_with(prefix)) found.push_back({entry.name.substr(prefix.size()), entry.tensor});
  return found;
}

}  // namespace simsmoe
