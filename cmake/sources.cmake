# What is compiled once for each device: kernels, and the host's side of them. The emulation has a
# scan of its own.
file(GLOB kernel_sources CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/csrc/cuda csrc/cuda/*.cu)
list(TRANSFORM kernel_sources REPLACE "\\.cu$" "")
list(REMOVE_ITEM kernel_sources scan)
file(GLOB device_sources CONFIGURE_DEPENDS csrc/cuda/*.cpp csrc/pipeline/cuda_*.cpp)
