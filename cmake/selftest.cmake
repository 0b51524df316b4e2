# Every kernel without Python, for the sanitizers and for other processors: the emulated ones against
# the CPU's, and the CPU's against their definition. The race detector needs the threads of a launch
# to be threads.
if(NOT NUCLEISEG_SELFTEST MATCHES "^(plain|thread|address)$")
  message(FATAL_ERROR
          "NUCLEISEG_SELFTEST=${NUCLEISEG_SELFTEST}: accepted are plain, thread and address.")
endif()
include(cmake/sources.cmake)
include(cmake/emulation.cmake)

# Linked last, so that its options come last.
add_library(sanitizer INTERFACE)
if(NOT NUCLEISEG_SELFTEST STREQUAL "plain")
  set(checks ${NUCLEISEG_SELFTEST})
  if(checks STREQUAL "address")
    set(checks address,undefined)
  endif()
  target_compile_options(sanitizer INTERFACE -O1 -g -fno-omit-frame-pointer -fsanitize=${checks}
                                             -fno-sanitize-recover=all)
  target_link_options(sanitizer INTERFACE -fsanitize=${checks})
endif()
if(NUCLEISEG_SELFTEST STREQUAL "thread")
  target_compile_definitions(sanitizer INTERFACE NUCLEISEG_EMULATION_THREADS=4)
endif()

target_link_libraries(nucleiseg_cpu PRIVATE sanitizer)
foreach(level IN LISTS levels)
  target_link_libraries(rows_${level} PRIVATE sanitizer)
endforeach()
foreach(level IN LISTS convolutions)
  target_link_libraries(convolve_${level} PRIVATE sanitizer)
endforeach()

add_executable(selftest tests/cpp/device_selftest.cpp ${emulated_kernels} ${emulation}
                        ${device_sources})
target_link_libraries(selftest PRIVATE nucleiseg_cpu emulation_options sanitizer)

# The definition is the one thing here that is not to be vectorised.
set_source_files_properties(tests/cpp/reference.cpp tests/cpp/cpu_selftest.cpp
                            PROPERTIES COMPILE_OPTIONS "-fno-tree-vectorize")
add_executable(cpu_selftest tests/cpp/cpu_selftest.cpp tests/cpp/reference.cpp)
target_link_libraries(cpu_selftest PRIVATE nucleiseg_cpu nucleiseg_options Threads::Threads sanitizer)

add_executable(network_digests tests/cpp/network_digests.cpp)
target_link_libraries(network_digests PRIVATE nucleiseg_cpu nucleiseg_options Threads::Threads sanitizer)
