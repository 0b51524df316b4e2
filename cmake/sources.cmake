# What is compiled once for each device: kernels, and the host's side of them.
set(kernel_sources label limits mask normalize tiles)
set(device_sources check device memory stream)
list(TRANSFORM device_sources REPLACE "(.+)" "csrc/cuda/\\1.cpp")
