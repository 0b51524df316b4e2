# The GPUs that the kernels are compiled for, unless CMAKE_CUDA_ARCHITECTURES says others: Turing
# (75), Ampere and Ada cards and hosts (80, 86, 89), Orin (87), Hopper (90), Blackwell hosts (100),
# Thor (110) and Blackwell cards (120), as far as this compiler knows them; all others translate the
# code of the first.
if(CMAKE_CUDA_ARCHITECTURES)
  return()
endif()
set(wanted 75 80 86 87 89 90 100 110 120)
execute_process(
  COMMAND ${CMAKE_CUDA_COMPILER} --list-gpu-arch
  OUTPUT_VARIABLE known
  ERROR_QUIET)
set(real)
foreach(architecture IN LISTS wanted)
  if(known MATCHES "compute_${architecture}[^0-9]")
    list(APPEND real ${architecture})
  endif()
endforeach()
list(GET real 0 first)
list(TRANSFORM real APPEND "-real")
set(CMAKE_CUDA_ARCHITECTURES ${real} ${first}-virtual)
