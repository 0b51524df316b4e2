// What a GPU answers and how long it takes, for tests of engines and tables of times.
//
// A time is the median over launches of a graph that holds the work many times, by the GPU's own
// events.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "pipeline/cuda_device.h"

namespace nucleiseg::NUCLEISEG_DEVICE {

// Runs the network on tiles on the host. The cells, on the host too, go to the device first, so
// that what the network leaves unwritten stays as it was. With `by_graph` a graph writes them,
// captured after one run without it.
void infer(const CudaDevice& device, const Tiles& tiles, bool by_graph);

// Milliseconds that the network takes for tiles on the host.
double network_milliseconds(const CudaDevice& device, const Tiles& tiles, int repeats);

// Milliseconds of a copy of so many bytes within the device.
double copy_milliseconds(size_t bytes, int repeats);

// The name and the milliseconds of each step of an image that is one tile, from host memory to
// labels there, which are written to `labels`.
std::vector<std::pair<std::string, double>> step_milliseconds(CudaDevice& device,
                                                              const Settings& settings,
                                                              const ImageView& image, int repeats,
                                                              int32_t* labels);

}  // namespace nucleiseg::NUCLEISEG_DEVICE
