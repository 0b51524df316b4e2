"""Parameters of the decoding give the CPU's results on a GPU, and are kept apart in its graphs."""

import numpy as np
import pytest
from driver_machines import EVERY_DEVICE, Machine

from nucleiseg import data

PARAMETERS = (
    {},
    {"nucleus_threshold": 0.3},
    {"separation": 0.3},
    {"min_area": 0},
    {"min_diameter": 12, "exclude_border": True},
    {"nucleus_threshold": 0.8, "separation": 0.0, "max_diameter": 30},
)


@pytest.fixture(scope="module", params=EVERY_DEVICE)
def machine(request: pytest.FixtureRequest) -> Machine:
    return Machine(request.param)


@pytest.mark.parametrize("scale", [1, 0.6])
def test_every_parameter_gives_what_it_gives_on_the_cpu(machine: Machine, scale: float) -> None:
    """Again and again in turn: from the third image of a shape on a graph does the work."""
    image = data.example("stained")[:96, :96]
    expected = [
        [machine.expected(image, output, scale=scale, **each) for output in ("mask", "labels")]
        for each in PARAMETERS
    ]
    assert len({labels.tobytes() for _, labels in expected}) > 3
    for _ in range(4):
        for each, wanted in zip(PARAMETERS, expected, strict=True):
            for output, array in zip(("mask", "labels"), wanted, strict=True):
                found = machine.segmenter.segment(image, output, scale=scale, **each)
                np.testing.assert_array_equal(found, array)


def test_what_is_selected_cannot_stay_on_the_gpu(machine: Machine) -> None:
    gpu, maps = machine.segmenter, np.zeros((32, 32, 2), np.uint8)
    for call in (
        lambda: gpu.segment(maps[..., 0], to_host=False, exclude_border=True),
        lambda: gpu.decode(maps, to_host=False, min_area=3),
    ):
        with pytest.raises(ValueError, match="to_host: got False, but nuclei are selected on the"):
            call()
    gpu.decode(maps, to_host=False, separation=0.3)
