# Includes point downwards, engine <- ops <- nn <- moe <- apps; the tests of a folder see what the folder sees; the two
# suites that are installed see what is installed with them. Eigen and oneDNN stay behind engine/cpu, GPU code in
# engine/cuda and ops, printing behind engine/log and the app.
include(${CMAKE_CURRENT_LIST_DIR}/common.cmake)

set(engine_sees engine)
set(ops_sees engine ops)
set(nn_sees engine ops nn)
set(moe_sees engine ops nn moe)
set(apps_sees engine ops nn moe apps tests/support)
set(support_sees engine ops tests/support)
set(contract_sees engine ops nn moe tests/support tests/moe/router_contract)
set(installed_suites "^tests/(support|moe/router_contract)/")

# The folders that a file may include from.
function(visible_folders out file)
  string(REGEX MATCH "^(tests/)?([a-z_]+)/" unused ${file})
  set(folders ${${CMAKE_MATCH_2}_sees})
  if(file MATCHES "^tests/moe/router_contract/")
    set(folders ${contract_sees})
  elseif(NOT folders) # tests/golden and the like
    set(folders ${apps_sees} tests)
  elseif(file MATCHES "^tests/" AND NOT file MATCHES "${installed_suites}")
    list(APPEND folders tests)
  endif()
  list(JOIN folders "|" folders)
  set(${out} ${folders} PARENT_SCOPE)
endfunction()

source_files(files engine ops nn moe apps tests)
foreach(file IN LISTS files)
  visible_folders(folders ${file})
  file(STRINGS ${root}/${file} includes REGEX "^ *# *include ")
  foreach(line IN LISTS includes)
    if(line MATCHES "\"(.*)\"")
      set(header ${CMAKE_MATCH_1})
      if(NOT header MATCHES "^(${folders})/|\\.inc$")
        violation(${file} "includes ${header}, which is not below it")
      endif()
    endif()
    if(line MATCHES "<Eigen/|dnnl" AND NOT file MATCHES "^engine/cpu/")
      violation(${file} "Eigen and oneDNN are used in engine/cpu only")
    endif()
  endforeach()

  if(file MATCHES "\\.cuh?$" AND NOT file MATCHES "^(engine/cuda|ops|tests)/")
    violation(${file} "GPU code belongs to engine/cuda and ops")
  endif()

  if(NOT file MATCHES "^(apps/|engine/log\\.|tests/)" OR file MATCHES "${installed_suites}")
    file(STRINGS ${root}/${file} prints
      REGEX "^[^/]*(std::(cout|cerr|clog)|fmt::print|<iostream>|(^|[^a-z_])f?(printf|puts|putchar|putc) *\\()")
    if(prints)
      violation(${file} "prints; only engine/log and the app do")
    endif()
  endif()
endforeach()
finish()
