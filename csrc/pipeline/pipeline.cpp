#include "pipeline/pipeline.h"

#include "pipeline/cpu_device.h"

namespace nucleiseg::pipeline {

template class Pipeline<CpuDevice>;

}  // namespace nucleiseg::pipeline
