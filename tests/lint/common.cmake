# What the lint scripts share: the sources below `root`, and how a violation is reported. Each script is run as
#   cmake -D root=<source tree> -P <script>
# prints every violation as file: sentence and then fails.
cmake_minimum_required(VERSION 3.25)
get_filename_component(root "${root}" ABSOLUTE)

# Paths below `root` of the C++ and CUDA files in the given folders. apps/examples/own_* are projects of their own.
function(source_files out)
  set(files "")
  foreach(folder IN LISTS ARGN)
    file(GLOB_RECURSE found RELATIVE ${root}
      ${root}/${folder}/*.hpp ${root}/${folder}/*.cpp ${root}/${folder}/*.cu ${root}/${folder}/*.cuh)
    list(APPEND files ${found})
  endforeach()
  list(FILTER files EXCLUDE REGEX "^apps/examples/own_[a-z]+/")
  set(${out} ${files} PARENT_SCOPE)
endfunction()

function(violation file sentence)
  message("${file}: ${sentence}")
  set_property(GLOBAL APPEND PROPERTY violations ${file})
endfunction()

function(finish)
  get_property(violations GLOBAL PROPERTY violations)
  list(LENGTH violations count)
  if(count)
    message(FATAL_ERROR "violations: ${count}")
  endif()
endfunction()
