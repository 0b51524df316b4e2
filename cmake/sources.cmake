# What is compiled once for each device: kernels, and the host's side of them.
set(kernel_sources label limits mask network_dot network_matrix network_pool network_stem_dot
                   network_stem_matrix normalize
                   tiles)
set(device_sources check device memory network network_weights stream)
list(TRANSFORM device_sources REPLACE "(.+)" "csrc/cuda/\\1.cpp")
list(APPEND device_sources csrc/pipeline/cuda_device.cpp csrc/pipeline/cuda_lane.cpp
     csrc/pipeline/cuda_times.cpp)
