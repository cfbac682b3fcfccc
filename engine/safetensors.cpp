#include "engine/safetensors.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include <xxhash.h>

#include "engine/file.hpp"

// The format: https://github.com/huggingface/safetensors, "Format". A file is
//   u64 n (little endian) | n bytes of JSON | the elements of all tensors, without holes
// and the JSON is
//   {"__metadata__": {name: text}, name: {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}.
// The checksum is XXH3-128 of the whole file with its own 32 digits read as '0'. It stands first in the
// header, so its place is known before anything is parsed.

namespace simsmoe {

static_assert(std::endian::native == std::endian::little, "elements are written as they lie in memory");

namespace {

constexpr std::size_t kLengthBytes = 8;
constexpr std::size_t kMaxHeaderBytes = 100'000'000;  // the limit of the format's own reader
constexpr std::size_t kAlignment = 64;                // of the data within the file
constexpr std::string_view kChecksumKey = "checksum";
constexpr std::string_view kHeaderStart = R"({"__metadata__":{"checksum":")";
constexpr std::string_view kAlgorithm = "xxh3-128:";
constexpr std::size_t kDigits = 32;
constexpr std::size_t kDigitsAt = kLengthBytes + kHeaderStart.size() + kAlgorithm.size();

struct FormatDType {
  std::string_view name;
  DType dtype;
};
constexpr FormatDType kDTypes[] = {{"F32", DType::f32}, {"F64", DType::f64}, {"BF16", DType::bf16},
                                   {"I32", DType::i32}, {"I64", DType::i64}, {"U8", DType::u8}};

// --- checksum ---------------------------------------------------------------------------------------

class Checksum {
 public:
  Checksum() { XXH3_128bits_reset(state_.get()); }
  void add(std::string_view bytes) { XXH3_128bits_update(state_.get(), bytes.data(), bytes.size()); }
  std::string digits() const {
    const XXH128_hash_t hash = XXH3_128bits_digest(state_.get());
    return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
  }

 private:
  std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state_{XXH3_createState(), XXH3_freeState};
};

// True when the file starts as ours do and its checksum is that of its bytes.
bool checksum_matches(std::string_view file) {
  const std::string_view header = file.substr(kLengthBytes);
  if (!header.starts_with(kHeaderStart) || !header.substr(kHeaderStart.size()).starts_with(kAlgorithm) ||
      file.size() < kDigitsAt + kDigits)
    return false;
  Checksum checksum;
  checksum.add(file.substr(0, kDigitsAt));
  checksum.add(std::string(kDigits, '0'));
  checksum.add(file.substr(kDigitsAt + kDigits));
  return file.substr(kDigitsAt, kDigits) == checksum.digits();
}

// --- header -----------------------------------------------------------------------------------------

struct Entry {
  std::string name;
  std::optional<DType> dtype;
  std::optional<std::vector<std::uint64_t>> shape, offsets;
};

// Receives the JSON piece by piece and accepts only what the format allows. It never nests deeper than three
// levels and keeps nothing that the file does not pay for in bytes. A refusal leaves its reason in `problem`.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  std::vector<Entry> entries;
  std::map<std::string, std::string> metadata;
  std::string problem;

  bool start_object(std::size_t) override {
    if (place_ == Place::outside) return go(Place::header);
    if (place_ == Place::header) return go(key_ == "__metadata__" ? Place::metadata : Place::tensor);
    return refuse("an object stands where none may");
  }

  bool end_object() override {
    if (place_ == Place::tensor) {
      const Entry& e = entries.back();
      if (!e.dtype || !e.shape || !e.offsets)
        return refuse(fmt::format("tensor '{}' needs dtype, shape and data_offsets", e.name));
    }
    return go(place_ == Place::header ? Place::outside : Place::header);
  }

  bool key(std::string& key) override {
    key_ = key;
    if (place_ == Place::metadata)
      return !metadata.contains(key) || refuse(fmt::format("metadata '{}' appears twice", key));
    if (place_ == Place::header) {
      if (!names_.insert(key).second) return refuse(fmt::format("the name '{}' appears twice", key));
      if (key != "__metadata__") entries.push_back({key, {}, {}, {}});
      return true;
    }
    const Entry& e = entries.back();
    const bool repeated =
        (key == "dtype" && e.dtype) || (key == "shape" && e.shape) || (key == "data_offsets" && e.offsets);
    return !repeated || refuse(fmt::format("tensor '{}' has two fields '{}'", e.name, key));
  }

  bool string(std::string& text) override {
    if (place_ == Place::metadata) {
      metadata.emplace(key_, text);
      return true;
    }
    if (place_ != Place::tensor || key_ != "dtype") return unexpected("a string");
    const auto found = std::ranges::find(kDTypes, text, &FormatDType::name);
    if (found == std::end(kDTypes))
      return refuse(
          fmt::format("tensor '{}' has the unknown dtype '{}': F32, F64, BF16, I32, I64 and U8 are known",
                      entries.back().name, text));
    entries.back().dtype = found->dtype;
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ != Place::tensor || (key_ != "shape" && key_ != "data_offsets")) return unexpected("a list");
    numbers().emplace();
    return go(key_ == "shape" ? Place::shape : Place::offsets);
  }

  bool end_array() override {
    if (place_ == Place::offsets && numbers()->size() != 2)
      return unexpected("a list that is no [begin, end]");
    return go(Place::tensor);
  }

  bool number_unsigned(std::uint64_t value) override {
    if (place_ != Place::shape && place_ != Place::offsets) return unexpected("a number");
    if (value > std::numeric_limits<std::int64_t>::max()) return unexpected("a number out of range");
    if (numbers()->size() == Shape::kMaxRank) return unexpected("a list that is too long");
    numbers()->push_back(value);
    return true;
  }
  bool number_integer(std::int64_t) override { return unexpected("a negative number"); }
  bool number_float(double, const std::string&) override { return unexpected("a number out of range"); }
  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("a truth value"); }
  bool binary(nlohmann::json::binary_t&) override { return unexpected("binary data"); }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception&) override {
    return refuse(fmt::format("the header is not valid JSON at byte {}", kLengthBytes + position));
  }

 private:
  enum class Place { outside, header, metadata, tensor, shape, offsets };

  bool go(Place place) {
    place_ = place;
    return true;
  }
  bool refuse(std::string why) {
    problem = std::move(why);
    return false;
  }
  bool unexpected(std::string_view what) {
    return refuse(
        fmt::format("the header has {} at '{}'{}", what, key_,
                    place_ >= Place::tensor ? fmt::format(" of tensor '{}'", entries.back().name) : ""));
  }
  std::optional<std::vector<std::uint64_t>>& numbers() {
    return key_ == "shape" ? entries.back().shape : entries.back().offsets;
  }

  Place place_ = Place::outside;
  std::string key_;
  std::set<std::string> names_;
};

// Throws Error when the shape is not one of ours or does not fill its bytes.
Shape checked_shape(const Entry& e) {
  const std::vector<std::int64_t> dims(e.shape->begin(), e.shape->end());
  const Shape shape{std::span(dims)};
  std::uint64_t bytes = 0;
  SMX_CHECK(!__builtin_mul_overflow(static_cast<std::uint64_t>(shape.numel()), size_of(*e.dtype), &bytes) &&
                bytes == (*e.offsets)[1] - (*e.offsets)[0],
            "{} {} does not fill bytes [{}, {})", name_of(*e.dtype), shape, (*e.offsets)[0], (*e.offsets)[1]);
  return shape;
}

// The entries in the order of the data, which they must fill from 0 to `size` without holes.
void order_and_check(std::vector<Entry>& entries, std::uint64_t size) {
  std::ranges::stable_sort(entries, {}, [](const Entry& e) { return *e.offsets; });
  std::uint64_t end = 0;
  for (const Entry& e : entries) {
    const std::uint64_t begin = (*e.offsets)[0];
    SMX_CHECK(begin <= (*e.offsets)[1] && (*e.offsets)[1] <= size,
              "the bytes [{}, {}) of tensor '{}' lie outside of the {} bytes of data", begin, (*e.offsets)[1],
              e.name, size);
    SMX_CHECK(begin >= end, "tensor '{}' overlaps its neighbour", e.name);
    SMX_CHECK(begin <= end, "{} bytes before tensor '{}' belong to none", begin - end, e.name);
    end = (*e.offsets)[1];
  }
  SMX_CHECK(end == size, "{} bytes at the end belong to no tensor", size - end);
}

TensorFile parse(std::string_view file, bool require_checksum) {
  SMX_CHECK(file.size() >= kLengthBytes, "truncated: {} bytes", file.size());
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), kLengthBytes);
  SMX_CHECK(length <= kMaxHeaderBytes, "a header of {} bytes is too long", length);
  SMX_CHECK(length <= file.size() - kLengthBytes, "truncated: a header of {} bytes in a file of {}", length,
            file.size());
  const std::string_view header = file.substr(kLengthBytes, length);
  const std::string_view data = file.substr(kLengthBytes + length);

  HeaderReader reader;
  SMX_CHECK(header.starts_with('{'), "not a safetensors file");
  SMX_CHECK(nlohmann::json::sax_parse(header.begin(), header.end(), &reader), "{}", reader.problem);
  order_and_check(reader.entries, data.size());

  // Either mark tells a file of ours, so that one damaged byte cannot hide that there is a checksum.
  const bool marked = reader.metadata.erase(std::string(kChecksumKey)) > 0 ||
                      header.substr(std::min(kHeaderStart.size(), header.size())).starts_with(kAlgorithm);
  SMX_CHECK(marked || !require_checksum, "there is no checksum: it was not written by this program");
  SMX_CHECK(!marked || checksum_matches(file), "damaged: the checksum does not match");

  TensorFile result{{}, std::move(reader.metadata)};
  for (Entry& e : reader.entries) {
    const std::string_view bytes = data.substr((*e.offsets)[0], (*e.offsets)[1] - (*e.offsets)[0]);
    const Tensor tensor = Tensor::empty(checked_shape(e), *e.dtype);
    std::memcpy(tensor.raw_data(), bytes.data(), bytes.size());
    result.tensors.push_back({std::move(e.name), tensor});
  }
  return result;
}

// --- writing ----------------------------------------------------------------------------------------

// A JSON string; throws Error when the text is not UTF-8.
std::string quoted(const std::string& text) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    throw Error(fmt::format("[safetensors] a name or value is not UTF-8: {:?}", text));
  }
}

std::string make_header(const std::vector<NamedTensor>& tensors,
                        const std::map<std::string, std::string>& metadata) {
  std::string header = fmt::format("{}{}{:0>{}}\"", kHeaderStart, kAlgorithm, "", kDigits);
  for (const auto& [key, value] : metadata) header += fmt::format(",{}:{}", quoted(key), quoted(value));
  header += '}';
  std::size_t begin = 0;
  for (const NamedTensor& t : tensors) {
    const auto dtype = std::ranges::find(kDTypes, t.tensor.dtype(), &FormatDType::dtype);
    header += fmt::format(R"(,{}:{{"dtype":"{}","shape":{},"data_offsets":[{},{}]}})", quoted(t.name),
                          dtype->name, t.tensor.shape(), begin, begin + t.tensor.bytes());
    begin += t.tensor.bytes();
  }
  header += '}';
  while ((kLengthBytes + header.size()) % kAlignment != 0) header += ' ';
  SMX_CHECK(header.size() <= kMaxHeaderBytes, "[safetensors] the header would have {} bytes", header.size());
  return header;
}

std::string_view bytes_of(const Tensor& tensor) {
  return {static_cast<const char*>(tensor.raw_data()), tensor.bytes()};
}

}  // namespace

const Tensor* TensorFile::find(std::string_view name) const {
  const auto found = std::ranges::find(tensors, name, &NamedTensor::name);
  return found == tensors.end() ? nullptr : &found->tensor;
}

const Tensor& TensorFile::at(std::string_view name) const {
  const Tensor* found = find(name);
  SMX_CHECK(found != nullptr, "[safetensors] the file has no tensor '{}'", name);
  return *found;
}

bool may_be_safetensors(std::string_view bytes) {
  if (bytes.size() <= kLengthBytes || bytes[kLengthBytes] != '{') return false;
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), kLengthBytes);
  return length <= kMaxHeaderBytes || bytes.substr(kLengthBytes).starts_with(kHeaderStart);
}

TensorFile parse_safetensors(std::string_view bytes, const std::string& source, bool require_checksum) {
  try {
    return parse(bytes, require_checksum);
  } catch (const Error& e) {
    throw UserError(fmt::format("{}: {}", source, e.what()));
  }
}

TensorFile read_safetensors(const std::string& path, bool require_checksum) {
  return parse_safetensors(read_file(path), path, require_checksum);
}

void write_safetensors(const std::string& path, const TensorFile& file) {
  SMX_CHECK(!file.metadata.contains(std::string(kChecksumKey)), "[safetensors] metadata '{}' is reserved",
            kChecksumKey);
  std::set<std::string_view> names{"__metadata__"};
  std::vector<NamedTensor> tensors;
  for (const NamedTensor& t : file.tensors) {
    SMX_CHECK(names.insert(t.name).second, "[safetensors] the name '{}' is reserved or appears twice",
              t.name);
    tensors.push_back({t.name, t.tensor.to(kCpu)});
  }
  // Wide elements first: every tensor then starts at a multiple of its element size.
  std::ranges::stable_sort(tensors, std::ranges::greater{},
                           [](const NamedTensor& t) { return size_of(t.tensor.dtype()); });

  std::string header = make_header(tensors, file.metadata);
  header.insert(0, kLengthBytes, '\0');
  const std::uint64_t length = header.size() - kLengthBytes;
  std::memcpy(header.data(), &length, kLengthBytes);

  Checksum checksum;
  checksum.add(header);
  for (const NamedTensor& t : tensors) checksum.add(bytes_of(t.tensor));
  header.replace(kDigitsAt, kDigits, checksum.digits());

  std::vector<std::string_view> pieces{header};
  for (const NamedTensor& t : tensors) pieces.push_back(bytes_of(t.tensor));
  replace_file(path, pieces);
}

}  // namespace simsmoe
