# How a library of this project is compiled: one function per kind of target, used by every folder.

add_library(simsmoe_flags INTERFACE)
target_compile_features(simsmoe_flags INTERFACE cxx_std_20)
target_compile_options(simsmoe_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wshadow -Wconversion
    # errno and floating-point traps are never read: without them loops over exp, sqrt... vectorise. NaN and
    # infinity keep their meaning.
    -fno-math-errno -fno-trapping-math>
  $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<BOOL:${SIMSMOE_WERROR}>>:-Werror>
  # g++ 12 finds uninitialised values in its own AVX-512 intrinsics; whether they are inlined depends on the processor.
  $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-error=maybe-uninitialized>
  # clang under the sanitizers gives up some `omp simd` loops and says so
  $<$<COMPILE_LANG_AND_ID:CXX,Clang>:-Wno-pass-failed>
  # Of several such flags the last one counts: a target that wants another one than -O3 names it in this property.
  $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CONFIG:Release>>:$<IF:$<BOOL:$<TARGET_PROPERTY:SIMSMOE_OPTIMISATION>>,$<TARGET_PROPERTY:SIMSMOE_OPTIMISATION>,-O3>>)
# fmt 9 turns constexpr off under nvcc, and then does not compile as C++20.
target_compile_options(simsmoe_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr -DFMT_USE_CONSTEXPR=1>)
if(SIMSMOE_NATIVE)
  target_compile_options(simsmoe_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-march=native>)
endif()
if(SIMSMOE_SANITIZE)
  target_compile_options(simsmoe_flags INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer>)
  target_link_options(simsmoe_flags INTERFACE -fsanitize=address,undefined)
endif()
if(SIMSMOE_FUZZ) # libFuzzer steers by the branches that an input reaches
  target_compile_options(simsmoe_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# simsmoe_add_layer(NAME SOURCES ... LINKS ...): the static library simsmoe_NAME, alias simsmoe::NAME. A layer links only
# the layer below, so an include or a symbol from above does not compile or link.
function(simsmoe_add_layer name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  add_library(simsmoe_${name} STATIC ${ARG_SOURCES})
  add_library(simsmoe::${name} ALIAS simsmoe_${name})
  set_target_properties(simsmoe_${name} PROPERTIES EXPORT_NAME ${name})
  target_include_directories(simsmoe_${name} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<INSTALL_INTERFACE:include/simsmoe>)
  target_compile_features(simsmoe_${name} PUBLIC cxx_std_20)
  target_link_libraries(simsmoe_${name} PUBLIC ${ARG_LINKS} PRIVATE $<BUILD_INTERFACE:simsmoe_flags>)
endfunction()
