"""Where a GPU lacks memory the network takes fewer tiles, smaller ones, then the CPU."""

from __future__ import annotations

import numpy as np
import pytest

import nucleiseg._native as native
from nucleiseg import Model, backends
from nucleiseg.engines import cuda
from nucleiseg.slides.network import Network


@pytest.mark.skipif(not hasattr(native, "emulated"), reason="this build has no _native.emulated")
def test_a_gpu_without_memory_is_left_step_by_step() -> None:
    model, kernels = Model.load(), native.emulated
    backend = backends.on_gpu(model, kernels, cuda.Engine(model, kernels), 1)
    network = Network(model, backend, threads=1, tile=None)
    picture = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    kernels.set_device_properties(memory=kernels.usage()["device_bytes"] + 1000, integrated=False)
    try:
        maps, notes = network.maps(picture)
    finally:
        kernels.set_device_properties(memory=4 << 30, integrated=False)
    batches = [int(note.split()[3]) for note in notes if note.endswith("tiles at once")]
    tiles = [int(note.split()[5]) for note in notes if note.endswith("pixels")]
    assert notes == [
        *(f"out of memory: {batch} tiles at once" for batch in batches),
        *(f"out of memory: tiles of {tile} pixels" for tile in tiles),
        "out of memory: on the CPU",
    ]
    assert batches == [backend.batch >> power for power in range(1, len(batches) + 1)]
    assert batches[-1:] in ([], [1])
    assert tiles == sorted(tiles, reverse=True)
    assert tiles[-1] == 2 * model.halo + model.stride
    expected, none = Network(model, "cpu", threads=1, tile=None).maps(picture)
    assert none == []
    np.testing.assert_array_equal(maps, expected)
