# The kernels as C++: see tests/cpp/emulation. A .cu file has a name that the C++ compiler does not know.
set(emulated_kernels)
foreach(kernel IN LISTS kernel_sources)
  set(wrapper ${CMAKE_CURRENT_BINARY_DIR}/emulated/${kernel}.cpp)
  file(GENERATE OUTPUT ${wrapper} CONTENT "#include \"cuda/${kernel}.cu\"\n")
  list(APPEND emulated_kernels ${wrapper})
endforeach()
set(emulation tests/cpp/emulation/machine.cpp tests/cpp/emulation/memory.cpp
              tests/cpp/emulation/scan.cpp tests/cpp/emulation/streams.cpp)

# In front of the real <cuda_runtime.h>, if there is one.
add_library(emulation_options INTERFACE)
target_include_directories(emulation_options BEFORE INTERFACE tests/cpp/emulation tests/cpp)
target_compile_definitions(emulation_options INTERFACE NUCLEISEG_DEVICE=emulated)
target_link_libraries(emulation_options INTERFACE nucleiseg_options Threads::Threads)
