// Runs a fuzz target without libFuzzer: every file of a corpus as it is, and thousands of changes to it, the
// same in each run. Whatever escapes the target (an exception, a signal, a sanitizer's report) fails the
// test. Usage: NAME_replay CORPUS_FOLDER

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "engine/file.hpp"
#include "engine/philox.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

constexpr int kChangesPerSeed = 3000;

// Draws for one changed input; the same number gives the same input.
class Dice {
 public:
  explicit Dice(std::uint64_t number) : number_(number) {}
  std::size_t below(std::size_t n) {
    return simsmoe::random_bits({0, simsmoe::stream_of("replay")}, number_, drawn_++) %
           std::max<std::size_t>(n, 1);
  }

 private:
  std::uint64_t number_, drawn_ = 0;
};

void change(std::string& bytes, const std::string& other, Dice& dice) {
  static const std::vector<std::string> kTokens{"[", "]", "{", "}",          "\"",  ",",       ":",
                                                "-", "0", "1", "9999999999", "1e9", "\\u0000", "\xff"};
  const std::size_t at = dice.below(bytes.size() + 1), length = dice.below(16);
  switch (dice.below(6)) {
    case 0:
      if (at < bytes.size()) bytes[at] = static_cast<char>(bytes[at] ^ (1 << dice.below(8)));
      break;
    case 1:
      if (at < bytes.size()) bytes[at] = static_cast<char>(dice.below(256));
      break;
    case 2:
      bytes.erase(at, length);
      break;
    case 3:
      bytes.insert(at, bytes.substr(dice.below(bytes.size()), length));
      break;
    case 4:
      bytes.insert(at, kTokens[dice.below(kTokens.size())]);
      break;
    default:
      bytes.replace(at, length, other.substr(dice.below(other.size()), length));
  }
}

void run(const std::string& bytes) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
}

}  // namespace

int main(int argc, char** argv) {
  std::set<std::filesystem::path> files;  // sorted, so that every machine runs the same changes
  if (argc == 2)
    for (const auto& entry : std::filesystem::directory_iterator(argv[1])) files.insert(entry.path());
  std::vector<std::string> seeds;
  for (const auto& file : files) seeds.push_back(simsmoe::read_file(file.string()));
  if (seeds.empty()) {
    std::fputs("usage: replay CORPUS_FOLDER (with at least one file)\n", stderr);
    return 2;
  }
  std::uint64_t number = 0;
  for (const std::string& seed : seeds) {
    run(seed);
    for (int i = 0; i < kChangesPerSeed; ++i) {
      Dice dice(number++);
      std::string bytes = seed;
      const std::string& other = seeds[dice.below(seeds.size())];
      for (std::size_t n = 1 + dice.below(4); n > 0; --n) change(bytes, other, dice);
      run(bytes);
    }
  }
  std::printf("%zu files, %llu changed inputs\n", seeds.size(), static_cast<unsigned long long>(number));
  return 0;
}
