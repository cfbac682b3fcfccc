// Which tensors and metadata go into the file, and what is refused on the way back.

#include "nn/checkpoint.hpp"

#include <charconv>

#include "engine/file.hpp"

namespace simsmoe::nn {

namespace {

constexpr std::string_view kReserved[] = {"format", "version", "checksum"};

std::string value_of(const TensorFile& file, const std::string& key) {
  const auto found = file.metadata.find(key);
  return found == file.metadata.end() ? std::string() : found->second;
}

void check_format(const std::string& path, const TensorFile& file) {
  if (value_of(file, "format") != kCheckpointFormat)
    throw UserError(fmt::format("{} is not a checkpoint of this program", path));
  const std::string text = value_of(file, "version");
  std::int64_t version = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), version);
  if (error != std::errc() || end != text.data() + text.size() || version < 1)
    throw UserError(fmt::format("{} has an unreadable checkpoint version '{}'", path, text));
  if (version > kCheckpointVersion)
    throw UserError(
        fmt::format("{} was written by a newer version of this program: its checkpoint version is {}, "
                    "this program reads up to {}",
                    path, version, kCheckpointVersion));
}

}  // namespace

void save_checkpoint(const std::string& path, const ParameterStore& store, const Optimizer* optimizer,
                     std::map<std::string, std::string> metadata, const std::vector<NamedTensor>& state) {
  for (const std::string_view key : kReserved)
    SMX_CHECK(!metadata.contains(std::string(key)), "[checkpoint] metadata key '{}' is reserved", key);
  metadata["format"] = kCheckpointFormat;
  metadata["version"] = std::to_string(kCheckpointVersion);
  TensorFile file{{}, std::move(metadata)};
  const auto add = [&](const std::string& name, const Tensor& tensor) {
    file.tensors.push_back({name, tensor.to(kCpu)});
  };
  const auto add_own = [&](const std::string& name, const Tensor& tensor) {
    SMX_CHECK(!name.starts_with(kOptimizerPrefix) && !name.starts_with(kStatePrefix),
              "[checkpoint] the name '{}' is reserved: it begins with '{}' or '{}'", name, kOptimizerPrefix,
              kStatePrefix);
    add(name, tensor);
  };
  for (const Parameter& parameter : store.parameters())
    add_own(parameter.variable.name(), parameter.variable.value());
  for (const NamedTensor& buffer : store.buffers()) add_own(buffer.name, buffer.tensor);
  if (optimizer != nullptr)
    for (const NamedTensor& tensor : optimizer->state()) add(tensor.name, tensor.tensor);
  for (const NamedTensor& tensor : state) add(std::string(kStatePrefix) + tensor.name, tensor.tensor);
  write_safetensors(path, file);
}

Checkpoint load_checkpoint(const std::string& path) {
  const std::string bytes = read_file(path);
  if (!may_be_safetensors(bytes))
    throw UserError(
        fmt::format("{} is not a checkpoint: expected a run folder or one of its "
                    "checkpoints/*.safetensors",
                    path));
  TensorFile file = parse_safetensors(bytes, path, /*require_checksum=*/true);
  check_format(path, file);
  Checkpoint checkpoint;
  for (NamedTensor& tensor : file.tensors) {
    if (tensor.name.starts_with(kOptimizerPrefix))
      checkpoint.optimizer.tensors.push_back(std::move(tensor));
    else if (tensor.name.starts_with(kStatePrefix))
      checkpoint.state.push_back({tensor.name.substr(kStatePrefix.size()), std::move(tensor.tensor)});
    else
      checkpoint.model.push_back(std::move(tensor));
  }
  for (const std::string_view key : kReserved) file.metadata.erase(std::string(key));
  checkpoint.metadata = std::move(file.metadata);
  return checkpoint;
}

void check_all_claimed(const ParameterStore& store) {
  const std::vector<std::string> left = store.load_report().ignored;
  if (left.empty()) return;
  throw UserError(
      fmt::format("checkpoint is of another model: it has {} tensor{} that this model lacks, first '{}'",
                  left.size(), left.size() == 1 ? "" : "s", left.front()));
}

}  // namespace simsmoe::nn
