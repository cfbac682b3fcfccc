#pragma once
// What the tests of this folder share: drawn tensors, tiny models, comparisons.

#include <unistd.h>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>

#include "nn/decoder.hpp"

namespace simsmoe::nn::testing {

// N(0, 1), a function of the name alone.
inline Tensor normal(Shape shape, std::string_view name, DType dtype = DType::f64) {
  std::vector<double> values(static_cast<std::size_t>(shape.numel()));
  const RandomKey key{1, stream_of(name)};
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = random_normal(key, 0, i);
  return Tensor::from(values, shape).to(dtype);
}

inline Tensor tokens(std::int64_t batch, std::int64_t length, std::int64_t vocab, std::uint64_t seed = 1) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(batch * length));
  for (std::size_t i = 0; i < ids.size(); ++i)
    ids[i] = static_cast<std::int32_t>(random_bits({seed, stream_of("tokens")}, 0, i) %
                                       static_cast<std::uint32_t>(vocab));
  return Tensor::from(ids, {batch, length});
}

// max |a - b|; infinity when something is NaN.
inline double max_difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  const std::vector<double> x = a.to_vector<double>(), y = b.to_vector<double>();
  double worst = 0.0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double d = std::abs(x[i] - y[i]);
    worst = std::isnan(d) ? INFINITY : std::max(worst, d);
  }
  return worst;
}

inline bool same_bits(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() &&
         std::equal(static_cast<const char*>(a.raw_data()),
                    static_cast<const char*>(a.raw_data()) + a.bytes(),
                    static_cast<const char*>(b.raw_data()));
}

// A path in the folder of temporary files that is removed at the end of the test.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& name)
      : path_((std::filesystem::temp_directory_path() / fmt::format("simsmoe-{}-{}", ::getpid(), name))
                  .string()) {
    std::filesystem::remove(path_);
  }
  ~TemporaryFile() { std::filesystem::remove(path_); }
  const std::string& path() const { return path_; }

  std::string read() const {
    std::ifstream in(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void write(const std::string& bytes) const {
    std::ofstream(path_, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }

 private:
  std::string path_;
};

// A decoder of two layers, small enough to look at every parameter.
inline DecoderOptions tiny_options() {
  DecoderOptions options;
  options.vocab = 11;
  options.dim = 8;
  options.attention.heads = 2;
  options.layers = 2;
  options.pattern = "sf";
  options.max_length = 6;
  options.dense.hidden = 12;
  options.dense.bias = true;
  return options;
}

}  // namespace simsmoe::nn::testing
