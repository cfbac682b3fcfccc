# The lints themselves: each passes on a small clean tree and fails, with the right sentence, once a violation is planted.
#   cmake -D scratch=<folder> -P self_test.cmake
cmake_minimum_required(VERSION 3.25)

function(run_lint result output lint)
  execute_process(COMMAND ${CMAKE_COMMAND} -D root=${scratch} -P ${CMAKE_CURRENT_LIST_DIR}/${lint}.cmake
    RESULT_VARIABLE code OUTPUT_VARIABLE text ERROR_VARIABLE text)
  set(${result} ${code} PARENT_SCOPE)
  set(${output} "${text}" PARENT_SCOPE)
endfunction()

function(write_clean_tree)
  file(REMOVE_RECURSE ${scratch})
  file(WRITE ${scratch}/engine/cpu/gemm.cpp "#include <Eigen/Core>\n#include <dnnl.h>\n#include \"engine/tape.hpp\"\n")
  file(WRITE ${scratch}/engine/log.cpp "#include <cstdio>\nvoid log() { std::fprintf(stderr, \"x\"); }\n")
  file(WRITE ${scratch}/ops/softmax.hpp "#include \"engine/tape.hpp\"
namespace simsmoe::ops {
struct Both {
  Variable y;
};
Variable softmax(const Variable& x);  // not std::cout
void adam_step(const Tensor& parameter,
               const Step& step);
inline void check_float(const Variable& x) {}
}  // namespace simsmoe::ops
")
  file(WRITE ${scratch}/tests/ops/softmax_cases.cpp "#include \"tests/support/op_case.hpp\"\nops::softmax(x[0]);\n")
  file(WRITE ${scratch}/tests/ops/optimizer_test.cpp "ops::adam_step(p, s);\n")
  file(WRITE ${scratch}/moe/routers/table.cpp "#define ROUTERS(router) \\
  router(smoe) \\
  router(xmoe)
")
  file(WRITE ${scratch}/tests/moe/router_contract_test.cpp "TEST_CASE(\"contract: smoe\") {}\nTEST_CASE(\"contract: xmoe\") {}\n")
  file(WRITE ${scratch}/docs/routers.md "# Routers\n\n## smoe\n\nAnd `xmoe`.\n")
  file(WRITE ${scratch}/ops/ops.hpp "#include \"ops/norm.hpp\"\n#include \"ops/softmax.hpp\"\n")
  file(WRITE ${scratch}/moe/routers/xmoe.cpp "RouterKind xmoe_router() { return {\"xmoe\"}; }\n")
  file(WRITE ${scratch}/apps/main.cpp "#include \"moe/moe_layer.hpp\"\nint main() { std::puts(\"x\"); }\n")
endfunction()

# plant_elsewhere(LINT FILE CONTENT PLACE SENTENCE): appends to FILE of the clean tree; LINT must say SENTENCE of PLACE.
function(plant_elsewhere lint file content place sentence)
  write_clean_tree()
  file(APPEND ${scratch}/${file} "${content}\n")
  run_lint(code output ${lint})
  string(FIND "${output}" "${place}: ${sentence}" found)
  if(code EQUAL 0 OR found EQUAL -1)
    message(FATAL_ERROR "${lint} should have said '${place}: ${sentence}', it said:\n${output}")
  endif()
endfunction()

function(plant lint file content sentence)
  plant_elsewhere(${lint} ${file} "${content}" ${file} "${sentence}")
endfunction()

foreach(lint layering sizes completeness routers readback)
  write_clean_tree()
  run_lint(code output ${lint})
  if(NOT code EQUAL 0)
    message(FATAL_ERROR "${lint} fails on a clean tree:\n${output}")
  endif()
endforeach()

plant(layering engine/tensor.hpp "#include \"ops/softmax.hpp\"" "includes ops/softmax.hpp")
plant(layering ops/softmax.cpp "# include \"moe/router.hpp\"" "includes moe/router.hpp")
plant(layering moe/router.cpp "#include \"apps/config.hpp\"" "includes apps/config.hpp")
plant(layering moe/router.cpp "#include \"router.hpp\"" "includes router.hpp")
plant(layering tests/engine/tape_test.cpp "#include \"ops/softmax.hpp\"" "includes ops/softmax.hpp")
plant(layering tests/support/op_case.hpp "#include \"nn/scope.hpp\"" "includes nn/scope.hpp")
plant(layering tests/moe/router_contract/contract.hpp "#include \"tests/moe/fixture.hpp\"" "includes tests/moe/fixture.hpp")
plant(layering tests/moe/router_contract/contract.cpp "fmt::print(\"bad\")" "prints")
plant(layering nn/layers.cpp "#include <Eigen/Dense>" "Eigen and oneDNN")
plant(layering engine/tensor.cpp "#include <dnnl.hpp>" "Eigen and oneDNN")
plant(layering nn/kernel.cu "" "GPU code")
plant(layering nn/layers.cpp "  std::cout << 1" "prints")
plant(layering ops/softmax_cpu.cpp "  if (bad) printf(\"bad\")" "prints")
plant(layering tests/support/op_suite.cpp "fmt::print(\"bad\")" "prints")
string(REPEAT "int x\n" 401 long)
plant(sizes nn/layers.cpp "${long}" "402 lines")
set(open "namespace simsmoe::ops {\n")
set(close "\n}  // namespace simsmoe::ops")
plant_elsewhere(completeness ops/other.hpp "${open}Variable softmax(const Variable& x);${close}" ops/ops.hpp "lacks ops/other.hpp")
plant(completeness ops/norm.hpp "${open}Variable soft(const Variable& x);${close}" "ops::soft has no case")
plant(completeness ops/norm.hpp "${open}Tensor count(const Tensor& x);${close}" "ops::count is called by no test")
plant(completeness ops/norm.hpp "${open}struct A {\n};\nBoth best(const Variable& x,\n  int k);${close}" "ops::best has no case")
plant(readback moe/routers/smoe.cpp "  for (double w : weights.value().to_vector<double>())" "numbers are read back 1 times, allowed are 0")
plant(readback moe/router.hpp "  inline double f(const Tensor& x) { return x.item(); }" "numbers are read back 1 times, allowed are 0")
plant(readback nn/layers.cpp "  auto x = tensor.host<float>();" "numbers are read back 1 times, allowed are 0")
plant(readback nn/layers.cpp "  const T* x = tensor.data<T>();" "numbers are read back 1 times, allowed are 0")
plant(readback moe/router.cpp "  if (!all_finite(x)) std::memcpy(y, x.raw_data(), n);" "numbers are read back 2 times, allowed are 0")
plant(readback moe/cka.cpp "  // x.item()" "numbers are read back 0 times, allowed are 3")
plant(routers moe/moe_layer.cpp "  if (a / 2 == 1 && router == \"xmoe\") return" "names a router")
plant(routers moe/options.cpp "  set(\"xmoe.dim\", 3)" "names a router")
plant(routers moe/moe_layer.cpp "  if (router == \"xmoe\") return" "names a router")
plant_elsewhere(routers moe/routers/table.cpp "router(smoe) router(xmoe) router(other)" tests/moe/router_contract_test.cpp
  "has no case \"contract: other\"")
plant_elsewhere(routers moe/routers/table.cpp "router(smoe) router(xmoe) router(other)" docs/routers.md "does not say what other is")
plant(routers apps/config.cpp "#include \"moe/routers/xmoe.hpp\"" "names a router")
