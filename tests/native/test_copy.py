"""Copies by several threads."""

import numpy as np
import pytest

from nucleiseg._native import cpu


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("count", [1, 1000, 1 << 19, (1 << 21) + 7])
def test_every_byte_is_copied(rng, count, threads):
    array = rng.integers(0, 256, count, np.uint8)
    out = np.zeros_like(array)
    cpu.copy(out, array, threads)
    np.testing.assert_array_equal(out, array)


def test_wrong_arguments_are_named():
    array = np.zeros((4, 6), np.uint8)
    for out in (np.zeros((4, 5), np.uint8), np.zeros((4, 12), np.uint8)[:, ::2]):
        with pytest.raises(
            ValueError, match=r"out, array: got shape \(4, \d+\) and shape \(4, 6\)"
        ):
            cpu.copy(out, array, 1)
    with pytest.raises(ValueError, match="threads: "):
        cpu.copy(array.copy(), array, 0)
    fixed = array.copy()
    fixed.flags.writeable = False
    with pytest.raises(ValueError, match="not writeable"):
        cpu.copy(fixed, array, 1)
