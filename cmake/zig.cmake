# A toolchain file: compiles with zig's C++ compiler, which pip installs (package ziglang).
#   NUCLEISEG_ZIG      its program
#   NUCLEISEG_TARGET   what to compile for: x86_64-linux-gnu.2.17, aarch64-linux-gnu.2.17,
#                      x86_64-windows-gnu, aarch64-macos
# The number is the oldest glibc that the result needs. The C++ library is linked statically.
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES NUCLEISEG_ZIG NUCLEISEG_TARGET)
string(REGEX MATCH "^[^-]+" processor "${NUCLEISEG_TARGET}")
# CMake's trials compile and do not link: to link, zig compiles its C++ library, once without and once
# with optimisation.
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(CMAKE_CXX_COMPILER_ID_TEST_FLAGS_FIRST "-c")
if(NUCLEISEG_TARGET MATCHES "windows|macos")
  # Nothing is linked, and nothing is tried.
  set(CMAKE_SYSTEM_NAME Generic)
  set(CMAKE_CXX_COMPILER_FORCED TRUE)
  set(CMAKE_CXX_COMPILER_ID_RUN TRUE)
  set(CMAKE_CXX_COMPILER_ID Clang)
  set(CMAKE_CXX_COMPILER_FRONTEND_VARIANT GNU)
  set(CMAKE_CXX_COMPILER_VERSION 20)
  set(CMAKE_HAVE_PTHREAD_H TRUE)
  set(CMAKE_HAVE_LIBC_PTHREAD TRUE)
else()
  # Without symbols, which are three quarters of a module; no strip of this machine knows another's.
  set(CMAKE_MODULE_LINKER_FLAGS_INIT "-s")
  if(NOT processor STREQUAL CMAKE_HOST_SYSTEM_PROCESSOR)
    set(CMAKE_SYSTEM_NAME Linux)
  endif()
endif()
if(CMAKE_SYSTEM_NAME)
  set(CMAKE_SYSTEM_PROCESSOR ${processor})
endif()
# x86_64 by itself is zig's name for its oldest processor; no file may be compiled for this machine's.
set(CMAKE_CXX_COMPILER ${NUCLEISEG_ZIG} c++ -target ${NUCLEISEG_TARGET})
set(CMAKE_CXX_ARCHIVE_CREATE "${NUCLEISEG_ZIG} ar qc <TARGET> <OBJECTS>")
set(CMAKE_CXX_ARCHIVE_APPEND "${NUCLEISEG_ZIG} ar q <TARGET> <OBJECTS>")
set(CMAKE_CXX_ARCHIVE_FINISH "${NUCLEISEG_ZIG} ranlib <TARGET>")
