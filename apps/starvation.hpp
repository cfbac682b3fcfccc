#pragma once
// Finds experts that nobody chooses any more, in what the layers measure.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace simsmoe::app {

class StarvationWatch {
 public:
  // Takes the loads "WHERE/load.E" of a logged step out of `values`, which would be a line too long for a log, and
  // returns a sentence for each expert whose share of the choices has just been below 1 / (10 E) in 100 such steps in a row.
  std::vector<std::string> take(std::map<std::string, double>& values);

 private:
  std::map<std::string, std::int64_t> hungry_;  // logged steps in a row, by key
};

}  // namespace simsmoe::app
