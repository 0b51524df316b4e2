# The library for C++ programs, without Python: include/nucleiseg and a package for find_package().
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

add_library(nucleiseg STATIC csrc/pipeline/public.cpp ${cpu_sources})
add_library(nucleiseg::nucleiseg ALIAS nucleiseg)
target_link_libraries(nucleiseg PRIVATE $<BUILD_INTERFACE:nucleiseg_options>
                                PUBLIC Threads::Threads)
target_compile_features(nucleiseg INTERFACE cxx_std_17)
target_include_directories(nucleiseg PUBLIC $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include>
                                            $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/nucleiseg)
write_basic_package_version_file(nucleisegConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(TARGETS nucleiseg EXPORT nucleisegTargets)
install(EXPORT nucleisegTargets NAMESPACE nucleiseg:: DESTINATION ${package})
install(FILES cmake/nucleisegConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/nucleisegConfigVersion.cmake
        DESTINATION ${package})
install(DIRECTORY include/nucleiseg DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
