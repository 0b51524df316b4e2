import itertools

import numpy as np
import pytest

from nucleiseg import tiling

SIZES = [1, 31, 32, 33, 500, 512, 513, 1000, 2048, 2049, 2220, 2967, 5001, 20_000]
TILES = [416, 512, 1024, 2048]
HALO, STRIDE = 192, 32


@pytest.mark.parametrize(("length", "tile"), list(itertools.product(SIZES, TILES)))
def test_every_pixel_is_kept_by_one_tile_that_sees_a_halo_around_it(length, tile):
    span = tiling.plan(length, 1, tile, HALO, STRIDE).rows
    assert span.size <= tile
    assert span.size % STRIDE == 0
    assert all(start % STRIDE == 0 for start in span.starts)
    assert span.bounds[0] == 0
    assert span.bounds[-1] == length
    for index, start in enumerate(span.starts):
        first, end = span.bounds[index], span.bounds[index + 1]
        assert first < end
        assert first % STRIDE == 0
        assert first == 0 or first - start >= HALO
        assert end == length or start + span.size - end >= HALO
    assert span.starts[-1] + span.size - length < STRIDE * (len(span.starts) + 1)


def test_an_image_that_fits_is_one_tile_without_a_halo():
    plan = tiling.plan(1000, 2048, 2048, HALO, STRIDE)
    assert (plan.rows.size, plan.columns.size) == (1024, 2048)
    assert len(plan.bands) == 1


def test_bands_cut_and_keep_what_the_spans_say():
    image = np.arange(700 * 900).reshape(700, 900)
    plan = tiling.plan(700, 900, 448, HALO, STRIDE)
    whole = np.zeros_like(image)
    for band in plan.bands:
        seen, kept = image[slice(*band.rows)], whole[slice(*band.kept)]
        for source, target, core in zip(band.sources, band.targets, band.cores, strict=True):
            tile = seen[source[0] : source[0] + plan.rows.size, source[1] :]
            row0, row1, column0, column1 = core
            kept[row0:row1, column0:column1] = tile[
                row0 - target[0] : row1 - target[0], column0 - target[1] : column1 - target[1]
            ]
    np.testing.assert_array_equal(whole, image)
