# A toolchain file: compiles for 64-bit Arm with Debian's g++-aarch64-linux-gnu. Linked statically,
# so that qemu-user runs what comes out without the other system's libraries.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
# Notes, not warnings, about what GCC 10 changed for arguments that nobody here passes across it.
set(CMAKE_CXX_FLAGS_INIT -Wno-psabi)
set(CMAKE_EXE_LINKER_FLAGS_INIT -static)
