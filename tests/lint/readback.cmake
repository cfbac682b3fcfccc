# Layers and routers are compositions of ops, so that a second device is a matter of kernels: what reads numbers back to the
# host stalls it. Each place that does is counted here, with its reason.
include(${CMAKE_CURRENT_LIST_DIR}/common.cmake)

# file, how often, why
set(allowed
  "moe/cka.cpp 3 whether a comparison has a value, how its kernel keeps its digits, and a measurement: only now and then"
  "moe/dispatch_plan.cpp 2 the counts of a plan: grouped products need the offsets on the host"
  "moe/expert_cka.cpp 2 a measurement, at validations only"
  "moe/experts.cpp 2 an initialiser"
  "moe/moe_layer.cpp 1 metrics, of counts that are on the host already"
  "moe/routers/compete_schedule.cpp 2 whether the experts of a layer compete decides what runs"
  "moe/routers/stablemoe.cpp 1 the stage decides what runs"
  "moe/similarity_learning.cpp 4 which pairs are due and whether they are alike decides what runs; metrics"
  "nn/checkpoint.cpp 1 saving"
  "nn/context.cpp 1 logging"
  "nn/decoder_state.cpp 2 loading"
  "nn/metrics.cpp 2 logging: where it is done"
  "nn/optimizer.cpp 4 the number of steps, and that of the updates of each parameter, kept on the host; a scale that is there"
)

source_files(files nn moe)
set(all 0)
foreach(file IN LISTS files)
  file(READ ${root}/${file} text)
  string(REGEX REPLACE "//[^\n]*" "" text "${text}")
  string(REGEX MATCHALL "to_vector<|host<|item\\(\\)|data<[a-zA-Z]|raw_data\\(|all_finite\\(|(= |::)read_scalars\\(|to\\(kCpu\\)" reads "${text}")
  list(LENGTH reads found)
  math(EXPR all "${all} + ${found}")
  set(expected 0)
  foreach(entry IN LISTS allowed)
    string(REGEX MATCH "^([^ ]+) ([0-9]+) " unused "${entry}")
    if(CMAKE_MATCH_1 STREQUAL file)
      set(expected ${CMAKE_MATCH_2})
    endif()
  endforeach()
  if(NOT found EQUAL expected)
    list(JOIN reads ", " reads)
    violation(${file} "numbers are read back ${found} times, allowed are ${expected}: ${reads}")
  endif()
endforeach()
message("${all} reads")
finish()
