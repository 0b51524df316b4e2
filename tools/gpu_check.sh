#!/bin/sh
# Builds the module for the GPU that is here, compares every kernel with the CPU's, times the network
# and the whole, runs the tests that need a GPU, and the sanitizers. Each part has a time limit, so
# that one that fails does not keep the others from running; the most valuable come first.
#
#   OUT=folder tools/gpu_check.sh [seconds]
#
# A module that was built before, for this Python, is taken as it is.
set -u

limit=${1:-128}
OUT=${OUT:-out/gpu}
python=${PYTHON:-python3}
cd "$(dirname "$0")/.." || exit 1
mkdir -p "$OUT"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
export PATH="$PATH:/usr/local/cuda/bin"
start=$(date +%s)

left() {
  echo $((limit - $(date +%s) + start))
}

# part NAME SECONDS COMMAND...: prints the end of what the command prints, all of which is in
# $OUT/NAME.log, and never runs beyond the limit of the whole.
part() {
  name=$1 most=$2 begin=$(date +%s)
  shift 2
  [ "$(left)" -lt "$most" ] && most=$(left)
  if [ "$most" -lt 3 ]; then
    echo "== $name: no time is left"
    return 1
  fi
  timeout -k 2 "$most" "$@" >"$OUT/$name.log" 2>&1
  code=$?
  echo "== $name: exit $code after $(($(date +%s) - begin)) s of $most"
  tail -n "${lines:-12}" "$OUT/$name.log" | cut -c1-1800
  return $code
}

has_cuda() {
  "$python" -c 'from nucleiseg._native import cuda' 2>/dev/null
}

build() {
  architecture=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d .)
  cmake -S . -B build/gpu -G Ninja -DNUCLEISEG_CUDA=on -DNUCLEISEG_TEST_BINDINGS=ON \
    -DCMAKE_CUDA_ARCHITECTURES="${architecture:-90}-real" \
    -DPython_EXECUTABLE="$(command -v "$python")" \
    -Dpybind11_DIR="$("$python" -m pybind11 --cmakedir)" &&
    cmake --build build/gpu --target _native &&
    cp build/gpu/_native*.so nucleiseg/
}

if [ "${1:-}" = build ]; then
  build
  exit
fi

nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.max.sm --format=csv,noheader
has_cuda || lines=4 part build 80 "$0" build
has_cuda || exit 1

# What the tests need of imagecodecs to read PNG files, where it is missing.
stand_in() {
  mkdir -p "$OUT/stand_in"
  cat >"$OUT/stand_in/imagecodecs.py" <<'END'
import zlib
import cv2
import numpy as np
PngError = DeflateError = Jpeg8Error = type("Error", (ValueError,), {})
def png_decode(data):
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return image if image.ndim == 2 else np.ascontiguousarray(image[..., [2, 1, 0, 3][: image.shape[2]]])
def deflate_crc32(data, value=0):
    return zlib.crc32(data, value)
def deflate_decode(data, out=None):
    return zlib.decompress(data)
def zlib_encode(data, level=0):
    return zlib.compress(data, level)
END
  export PYTHONPATH="$PYTHONPATH:$OUT/stand_in"
}

lines=60 part digests 30 "$python" tools/gpu_check.py digests
lines=20 part doctor 40 "$python" -m nucleiseg doctor --gpu -o "$OUT/nucleiseg-gpu.json"
lines=40 part layers 30 "$python" tools/gpu_check.py layers

"$python" -c 'import imagecodecs' 2>/dev/null || stand_in
tests="devices device_network limits normalize tiles mask label exchange"
files=""
for one in $tests; do files="$files tests/native/test_$one.py"; done
workers=""
"$python" -c 'import xdist' 2>/dev/null && workers="-n 6"
pytest="$python -m pytest -q -x -p no:cacheprovider -W ignore -rfE $workers -m gpu"
lines=15 part kernel_tests 35 $pytest $files
lines=15 part driver_tests 35 $pytest tests/emulated/test_driver.py tests/emulated/test_device_memory.py tests/gpu/test_driver_on_gpu.py

for tool in memcheck racecheck; do
  lines=10 part "$tool" 30 compute-sanitizer --tool $tool --error-exitcode 9 --print-limit 5 \
    "$python" tools/gpu_check.py small
done
lines=1 part counters 30 ncu --clock-control none --csv --page raw --section SpeedOfLight \
  --section Occupancy --section WarpStateStats --section MemoryWorkloadAnalysis \
  --section InstructionStats -k regex:"convolve|pool" "$python" tools/gpu_check.py profile
echo "== all: $(($(date +%s) - start)) s"
