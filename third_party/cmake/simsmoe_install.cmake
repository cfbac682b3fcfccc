# cmake --install: the libraries, their headers, the program and a CMake package, so that another project can say
# find_package(simsmoe). apps/examples/own_op is such a project.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS simsmoe_engine simsmoe_ops simsmoe_nn simsmoe_moe simsmoe_testing simsmoe_router_contract
  EXPORT simsmoe)
install(TARGETS simsmoe_app)
foreach(folder engine ops nn moe tests/support tests/moe/router_contract)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/${folder}/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/simsmoe/${folder}
    FILES_MATCHING PATTERN "*.hpp" PATTERN "*.cuh")
endforeach()

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/simsmoe)
install(EXPORT simsmoe NAMESPACE simsmoe:: FILE simsmoe-targets.cmake DESTINATION ${package_dir})
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/simsmoe-config.cmake.in simsmoe-config.cmake
  INSTALL_DESTINATION ${package_dir} NO_SET_AND_CHECK_MACRO NO_CHECK_REQUIRED_COMPONENTS_MACRO)
write_basic_package_version_file(simsmoe-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/simsmoe-config.cmake ${PROJECT_BINARY_DIR}/simsmoe-config-version.cmake
  DESTINATION ${package_dir})
