# The kernels for GPUs: csrc/cuda and csrc/bindings/device, compiled once for each device into a
# namespace of its name.
set(kernel_sources label mask normalize percentiles tiles)
set(device_sources check device memory stream)
set(device_bindings array buffers copies devices label mask normalize register_all streams tiles)
list(TRANSFORM device_sources REPLACE "(.+)" "csrc/cuda/\\1.cpp")
list(TRANSFORM device_bindings REPLACE "(.+)" "csrc/bindings/device/\\1.cpp")

# Argument checks are not worth the minute that optimising them takes.
set_source_files_properties(${device_bindings} PROPERTIES COMPILE_OPTIONS -O1)

if(cuda STREQUAL "on")
  find_package(CUDAToolkit REQUIRED)
  list(TRANSFORM kernel_sources REPLACE "(.+)" "csrc/cuda/\\1.cu" OUTPUT_VARIABLE cuda_kernels)
  add_library(device_cuda OBJECT ${cuda_kernels} csrc/cuda/scan.cu ${device_sources}
                                 ${device_bindings})
  set_target_properties(device_cuda PROPERTIES CUDA_STANDARD 17 CUDA_STANDARD_REQUIRED ON
                                               CUDA_VISIBILITY_PRESET hidden)
  target_compile_definitions(device_cuda PRIVATE NUCLEISEG_DEVICE=cuda)
  # The runtime is linked statically: the module loads where there is no driver.
  target_link_libraries(device_cuda PRIVATE nucleiseg_options pybind11::module
                                            CUDA::cudart_static)
  target_compile_definitions(_native PRIVATE NUCLEISEG_WITH_CUDA)
  target_sources(_native PRIVATE $<TARGET_OBJECTS:device_cuda>)
  target_link_libraries(_native PRIVATE CUDA::cudart_static)
endif()

if(NUCLEISEG_EMULATION)
  # A .cu file has a name that the C++ compiler does not know.
  set(emulated_kernels)
  foreach(kernel IN LISTS kernel_sources)
    set(wrapper ${CMAKE_CURRENT_BINARY_DIR}/emulated/${kernel}.cpp)
    file(GENERATE OUTPUT ${wrapper} CONTENT "#include \"cuda/${kernel}.cu\"\n")
    list(APPEND emulated_kernels ${wrapper})
  endforeach()
  set(emulation csrc/emulation/machine.cpp csrc/emulation/memory.cpp csrc/emulation/scan.cpp
                csrc/emulation/streams.cpp)

  # In front of the real <cuda_runtime.h>, if there is one.
  add_library(emulation_options INTERFACE)
  target_include_directories(emulation_options BEFORE INTERFACE csrc/emulation)
  target_compile_definitions(emulation_options INTERFACE NUCLEISEG_DEVICE=emulated)
  target_link_libraries(emulation_options INTERFACE nucleiseg_options Threads::Threads)

  add_library(device_emulated OBJECT ${emulated_kernels} ${emulation} ${device_sources}
                                     ${device_bindings} csrc/bindings/emulation.cpp)
  target_link_libraries(device_emulated PRIVATE emulation_options pybind11::module)
  target_compile_definitions(_native PRIVATE NUCLEISEG_WITH_EMULATION)
  target_sources(_native PRIVATE $<TARGET_OBJECTS:device_emulated>)

  # Every kernel against the CPU without Python, for the sanitizers; the race detector needs the
  # threads of a launch to be threads.
  add_executable(emulated_selftest EXCLUDE_FROM_ALL csrc/emulation/selftest.cpp ${emulated_kernels}
                                                    ${emulation} ${device_sources} ${cpu_sources})
  target_link_libraries(emulated_selftest PRIVATE emulation_options)
  if(NUCLEISEG_SANITIZER)
    target_compile_options(emulated_selftest PRIVATE -O1 -g -fno-omit-frame-pointer
                                                     -fsanitize=${NUCLEISEG_SANITIZER})
    target_link_options(emulated_selftest PRIVATE -fsanitize=${NUCLEISEG_SANITIZER})
  endif()
  if(NUCLEISEG_SANITIZER STREQUAL "thread")
    target_compile_definitions(emulated_selftest PRIVATE NUCLEISEG_EMULATION_THREADS=4)
  endif()
endif()
