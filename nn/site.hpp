#pragma once
// What a sublayer may know of the model around it. A decoder fills it in.

#include <cstdint>

namespace simsmoe::nn {

struct Site {
  std::int64_t dim = 0;     // D
  std::int64_t index = 0;   // number of this sublayer among those of its kind, from 0
  std::int64_t count = 1;   // how many of its kind there are
  std::int64_t vocab = 0;   // V; 0: unknown
  std::int64_t steps = 0;   // of the whole training; 0: unknown
  double dropout = 0.0;     // of the model's dense parts
  double init_std = 0.0;    // see LinearOptions
  double output_std = 0.0;  // the same for the map back to D
};

}  // namespace simsmoe::nn
