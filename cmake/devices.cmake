# The kernels for GPUs: csrc/cuda and csrc/bindings/device, compiled once for each device into a
# namespace of its name.
include(cmake/sources.cmake)
file(GLOB device_bindings CONFIGURE_DEPENDS csrc/bindings/device/*.cpp)
if(NUCLEISEG_TEST_BINDINGS)
  file(GLOB test_device_bindings CONFIGURE_DEPENDS tests/cpp/bindings/device/*.cpp
       tests/cpp/bindings/kernels/*.cpp)
  list(APPEND device_bindings ${test_device_bindings})
endif()

# All of a device's bindings are compiled as one file, and hardly optimised: reading pybind11 once
# takes long enough, and argument checks are not worth the minute that optimising them takes.
# Linked last, so that its options come last.
add_library(hardly_optimised INTERFACE)
target_compile_options(hardly_optimised INTERFACE -O1)

function(add_bindings name)
  add_library(${name} OBJECT ${device_bindings})
  set_target_properties(${name} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 0)
  target_link_libraries(${name} PRIVATE ${ARGN} pybind11::module hardly_optimised)
  if(NUCLEISEG_TEST_BINDINGS)
    target_include_directories(${name} PRIVATE tests)
    target_compile_definitions(${name} PRIVATE NUCLEISEG_WITH_TEST_BINDINGS)
  endif()
  target_sources(_native PRIVATE $<TARGET_OBJECTS:${name}>)
endfunction()

if(cuda STREQUAL "on")
  find_package(CUDAToolkit REQUIRED)
  # The runtime is linked statically: the module loads where there is no driver.
  add_library(cuda_options INTERFACE)
  target_compile_definitions(cuda_options INTERFACE NUCLEISEG_DEVICE=cuda)
  target_link_libraries(cuda_options INTERFACE nucleiseg_options CUDA::cudart_static)

  list(TRANSFORM kernel_sources REPLACE "(.+)" "csrc/cuda/\\1.cu" OUTPUT_VARIABLE cuda_kernels)
  add_library(device_cuda OBJECT ${cuda_kernels} csrc/cuda/scan.cu ${device_sources})
  set_target_properties(device_cuda PROPERTIES CUDA_STANDARD 17 CUDA_STANDARD_REQUIRED ON
                                               CUDA_VISIBILITY_PRESET hidden)
  target_link_libraries(device_cuda PRIVATE cuda_options)
  add_bindings(bindings_cuda cuda_options)
  set_property(SOURCE csrc/module.cpp APPEND PROPERTY COMPILE_DEFINITIONS NUCLEISEG_WITH_CUDA)
  target_sources(_native PRIVATE $<TARGET_OBJECTS:device_cuda>)
  target_link_libraries(_native PRIVATE CUDA::cudart_static)
endif()

if(NUCLEISEG_EMULATION)
  include(cmake/emulation.cmake)
  add_library(device_emulated OBJECT ${emulated_kernels} ${emulation} ${device_sources})
  target_link_libraries(device_emulated PRIVATE emulation_options)
  add_bindings(bindings_emulated emulation_options)
  set_property(SOURCE csrc/module.cpp APPEND PROPERTY COMPILE_DEFINITIONS NUCLEISEG_WITH_EMULATION)
  target_sources(_native PRIVATE $<TARGET_OBJECTS:device_emulated> tests/cpp/emulation/bindings.cpp)
  set_property(SOURCE tests/cpp/emulation/bindings.cpp APPEND PROPERTY INCLUDE_DIRECTORIES
                                                                  ${PROJECT_SOURCE_DIR}/tests/cpp)
endif()
