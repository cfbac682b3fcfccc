#include "engine/safetensors.hpp"

#include <cstring>
#include <fstream>

#include "engine/file.hpp"
#include "tests/engine/support.hpp"

using namespace simsmoe;
using testing::contains;
using testing::message_of;

namespace {

// A file with this header and so many bytes of data.
std::string file_of(const std::string& header, std::size_t data_bytes = 0) {
  const std::uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + std::string(data_bytes, '\1');
}

std::string refusal(const std::string& bytes, bool require_checksum = false) {
  return message_of<UserError>([&] { parse_safetensors(bytes, "f", require_checksum); });
}

// One tensor "a" with these fields, over 8 bytes of data.
std::string with_fields(const std::string& fields) { return file_of(R"({"a":{)" + fields + "}}", 8); }

TensorFile all_dtypes() {
  TensorFile file;
  for (const DType d : {DType::u8, DType::f32, DType::f64, DType::bf16, DType::i32, DType::i64})
    file.tensors.push_back(
        {std::string(name_of(d)), Tensor::from(std::vector<double>{1, 2, 3, 4, 5, 6}, {2, 3}).to(d)});
  file.tensors.push_back({"empty", Tensor::zeros({0, 3}, DType::f32)});
  file.tensors.push_back({"scalar", Tensor::scalar(2.5)});
  file.tensors.push_back({"quote \" slash \\ newline \n \u00e9", Tensor::scalar(1.0f)});
  file.metadata = {{"format", "test"}, {"quote \"", "\u20ac"}};
  return file;
}

std::string written(const TensorFile& file) {
  const testing::TemporaryFolder folder;
  write_safetensors(folder.file("x.safetensors"), file);
  return read_file(folder.file("x.safetensors"));
}

// A file of about 250 bytes, all of which count.
std::string small_file() {
  return written(
      {{{"w", Tensor::from(std::vector<float>{1, 2}, {2})}, {"s", Tensor::scalar(3.0)}}, {{"k", "v"}}});
}

}  // namespace

TEST_CASE("safetensors: every dtype, shape and name survives the way through a file") {
  const testing::TemporaryFolder folder;
  const std::string path = folder.file("x.safetensors");
  const TensorFile file = all_dtypes();
  write_safetensors(path, file);
  const TensorFile back = read_safetensors(path, true);
  CHECK(back.metadata == file.metadata);
  REQUIRE(back.tensors.size() == file.tensors.size());
  for (const NamedTensor& t : file.tensors) {
    const Tensor& b = back.at(t.name);
    CHECK(b.dtype() == t.tensor.dtype());
    CHECK(b.shape() == t.tensor.shape());
    CHECK(b.to_vector<double>() == t.tensor.to_vector<double>());
  }
  CHECK(back.find("no") == nullptr);
  CHECK(message_of([&] { back.at("no"); }) == "[safetensors] the file has no tensor 'no'");
  CHECK(written(back) == read_file(path));  // same content, same bytes
}

TEST_CASE("safetensors: the data is aligned") {
  const std::string bytes = small_file();
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  CHECK((8 + length) % 64 == 0);
  CHECK(contains(bytes, R"("s":{"dtype":"F64","shape":[],"data_offsets":[0,8]})"));  // wide elements first
  CHECK(contains(bytes, R"("w":{"dtype":"F32","shape":[2],"data_offsets":[8,16]})"));
}

TEST_CASE("safetensors: a file from elsewhere is read unless a checksum is required") {
  // Data in another order than the header, blanks after it, no metadata.
  std::string bytes = file_of(
      R"({"b":{"data_offsets":[4,6],"shape":[1],"dtype":"BF16"}, "a":{"dtype":"I32","shape":[1,1],"data_offsets":[0,4]}}  )");
  const std::int32_t a = -7;
  const bf16 b(1.5f);
  bytes.append(reinterpret_cast<const char*>(&a), 4).append(reinterpret_cast<const char*>(&b), 2);
  const TensorFile file = parse_safetensors(bytes, "f");
  REQUIRE(file.tensors.size() == 2);
  CHECK(file.tensors[0].name == "a");
  CHECK(file.at("a").item() == -7);
  CHECK(file.at("b").item() == 1.5);
  CHECK(refusal(bytes, true) == "f: there is no checksum: it was not written by this program");
  CHECK(parse_safetensors(file_of("{}"), "f").tensors.empty());
  CHECK(parse_safetensors(file_of(R"({"__metadata__":{"k":"v"}})"), "f").metadata.at("k") == "v");
}

TEST_CASE("safetensors: a changed byte anywhere in a file of ours is noticed") {
  const std::string bytes = small_file();
  CHECK(refusal(bytes, true).empty());
  int unnoticed = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    for (int change = 1; change < 256; ++change) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ change);
      unnoticed += refusal(damaged, false).empty();
      if (change == 1 << (i % 8)) unnoticed += refusal(damaged, true).empty();
    }
  }
  CHECK(unnoticed == 0);
}

TEST_CASE("safetensors: a file cut or continued anywhere is refused") {
  const std::string bytes = small_file();
  for (std::size_t length = 0; length < bytes.size(); ++length)
    CHECK(contains(refusal(bytes.substr(0, length)), "f: "));
  CHECK(contains(refusal(bytes + 'x'), "f: 1 bytes at the end belong to no tensor"));
}

TEST_CASE("safetensors: hostile headers are refused with one sentence") {
  const std::string fine = R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  const std::string second = R"({"dtype":"F32","shape":[1],"data_offsets":[4,8]})";
  const std::string deep(100'000, '['), braces = [] {
    std::string s;
    for (int i = 0; i < 100'000; ++i) s += R"({"a":)";
    return s;
  }();
  const struct {
    std::string bytes, reason;
  } cases[] = {
      {"", "truncated: 0 bytes"},
      {std::string(8, '\xff'), "a header of 18446744073709551615 bytes is too long"},
      {std::string("\x01\xe1\xf5\x05\0\0\0\0", 8), "a header of 100000001 bytes is too long"},
      {std::string("\x09\0\0\0\0\0\0\0{}", 10), "truncated: a header of 9 bytes in a file of 10"},
      {file_of(""), "not a safetensors file"},
      {file_of(" {}"), "not a safetensors file"},
      {file_of("[]"), "not a safetensors file"},
      {file_of("{"), "not valid JSON at byte 10"},
      {file_of("{}x"), "not valid JSON"},
      {file_of("{}{}"), "not valid JSON"},
      {file_of("{/**/}"), "not valid JSON"},
      {file_of(std::string("{\"a\0\":1}", 8)), "not valid JSON"},
      {file_of("{\"\xff\xfe\":" + fine + "}", 4), "not valid JSON"},
      {file_of("{\"\xc0\xaf\":" + fine + "}", 4), "not valid JSON"},  // overlong UTF-8
      {file_of("{\"\\ud800\":" + fine + "}", 4), "not valid JSON"},   // half a surrogate pair
      {file_of("{" + deep), "not valid JSON"},
      {file_of("{\"a\":" + deep), "the header has a list at 'a'"},
      {file_of(braces), "an object stands where none may"},
      {file_of(R"({"a":1})"), "the header has a number at 'a'"},
      {file_of(R"({"a":null})"), "the header has null at 'a'"},
      {file_of(R"({"a":true})"), "the header has a truth value at 'a'"},
      {file_of(R"({"a":{}})"), "tensor 'a' needs dtype, shape and data_offsets"},
      {file_of(R"({"a":)" + fine + R"(,"a":)" + second + "}", 8), "the name 'a' appears twice"},
      {file_of(R"({"a":)" + fine + R"(,"\u0061":)" + second + "}", 8), "the name 'a' appears twice"},
      {file_of(R"({"a":)" + fine + R"(,"b":)" + fine + "}", 4), "tensor 'b' overlaps its neighbour"},
      {file_of(R"({"a":)" + second + "}", 8), "4 bytes before tensor 'a' belong to none"},
      {file_of(R"({"a":)" + fine + "}", 8), "4 bytes at the end belong to no tensor"},
      {file_of(R"({"a":)" + fine + "}", 3),
       "the bytes [0, 4) of tensor 'a' lie outside of the 3 bytes of data"},
      {file_of(R"({"__metadata__":{},"__metadata__":{}})"), "the name '__metadata__' appears twice"},
      {file_of(R"({"__metadata__":{"k":"1","k":"2"}})"), "metadata 'k' appears twice"},
      {file_of(R"({"__metadata__":{"k":1}})"), "the header has a number at 'k'"},
      {file_of(R"({"__metadata__":{"k":{}}})"), "an object stands where none may"},
      {file_of(R"({"__metadata__":{"k":["v"]}})"), "the header has a list at 'k'"},
      {file_of(R"({"__metadata__":"v"})"), "the header has a string at '__metadata__'"},
      {file_of(R"({"__metadata__":{"checksum":"md5:0"}})"), "damaged: the checksum does not match"},
      {with_fields(R"("dtype":"F16","shape":[4],"data_offsets":[0,8])"),
       "tensor 'a' has the unknown dtype 'F16'"},
      {with_fields(R"("dtype":"f32","shape":[2],"data_offsets":[0,8])"), "unknown dtype 'f32'"},
      {with_fields(R"("dtype":1,"shape":[2],"data_offsets":[0,8])"), "a number at 'dtype' of tensor 'a'"},
      {with_fields(R"("dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8])"),
       "tensor 'a' has two fields 'dtype'"},
      {with_fields(R"("dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8])"),
       "tensor 'a' has two fields 'shape'"},
      {with_fields(R"("dtype":"F32","shape":[2],"data_offsets":[0,8],"x":0)"),
       "a number at 'x' of tensor 'a'"},
      {with_fields(R"("dtype":"F32","shape":[2],"data_offsets":[0,8],"x":[])"),
       "a list at 'x' of tensor 'a'"},
      {with_fields(R"("dtype":"F32","shape":2,"data_offsets":[0,8])"), "a number at 'shape' of tensor 'a'"},
      {with_fields(R"("dtype":"F32","shape":[-2],"data_offsets":[0,8])"), "a negative number at 'shape'"},
      {with_fields(R"("dtype":"F32","shape":[2.0],"data_offsets":[0,8])"),
       "a number out of range at 'shape'"},
      {with_fields(R"("dtype":"F32","shape":[2e0],"data_offsets":[0,8])"),
       "a number out of range at 'shape'"},
      {with_fields(R"("dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,8])"),
       "a number out of range"},
      {with_fields(R"("dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,8])"),
       "a number out of range"},
      {with_fields(R"("dtype":"F32","shape":["2"],"data_offsets":[0,8])"), "a string at 'shape'"},
      {with_fields(R"("dtype":"F32","shape":[[2]],"data_offsets":[0,8])"), "a list at 'shape'"},
      {with_fields(R"("dtype":"F32","shape":[1,1,1,1,1,1,2],"data_offsets":[0,8])"),
       "a list that is too long at 'shape'"},
      {with_fields(R"("dtype":"F32","shape":[3],"data_offsets":[0,8])"),
       "f32 [3] does not fill bytes [0, 8)"},
      {with_fields(R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8])"), "overflows"},
      {with_fields(R"("dtype":"F64","shape":[2305843009213693953],"data_offsets":[0,8])"), "does not fill"},
      {with_fields(R"("dtype":"F32","shape":[0,4611686018427387904,4],"data_offsets":[0,8])"), "overflows"},
      {with_fields(R"("dtype":"F32","shape":[2],"data_offsets":[0])"), "a list that is no [begin, end]"},
      {with_fields(R"("dtype":"F32","shape":[2],"data_offsets":[0,8,8])"), "a list that is no [begin, end]"},
      {with_fields(R"("dtype":"F32","shape":[2],"data_offsets":[8,0])"), "lie outside"},
      {with_fields(R"("dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551615])"),
       "a number out of range"},
      {with_fields(R"("dtype":"F32","shape":[2],"data_offsets":[0,9223372036854775807])"), "lie outside"},
  };
  for (const auto& c : cases) {
    CAPTURE(c.reason);
    CAPTURE(refusal(c.bytes));
    CHECK(contains(refusal(c.bytes), c.reason));
  }
}

TEST_CASE("safetensors: what cannot be read says why") {
  const testing::TemporaryFolder folder;
  const std::string path = folder.file("x.safetensors");
  CHECK(message_of<UserError>([&] { read_safetensors(path); }) ==
        "cannot read " + path + ": No such file or directory");
  std::ofstream(path) << "hello, world";
  CHECK(contains(message_of<UserError>([&] { read_safetensors(path); }), path + ": a header of"));
}

TEST_CASE("safetensors: what cannot be written leaves the old file") {
  const testing::TemporaryFolder folder;
  const std::string path = folder.file("x.safetensors");
  write_safetensors(path, all_dtypes());
  const std::string before = read_file(path);
  const Tensor t = Tensor::scalar(1.0f);
  CHECK(contains(message_of([&] {
                   write_safetensors(path, {{{"a", t}, {"a", t}}, {}});
                 }),
                 "'a' is reserved or appears twice"));
  CHECK(contains(message_of([&] { write_safetensors(path, {{{"__metadata__", t}}, {}}); }), "reserved"));
  CHECK(contains(message_of([&] {
                   write_safetensors(path, {{}, {{"checksum", "x"}}});
                 }),
                 "'checksum' is reserved"));
  CHECK(contains(message_of([&] { write_safetensors(path, {{{"\xff", t}}, {}}); }), "not UTF-8"));
  CHECK(contains(message_of([&] { write_safetensors(path, {{{"a", Tensor()}}, {}}); }), "undefined tensor"));
  CHECK(read_file(path) == before);
}
