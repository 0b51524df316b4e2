"""The table of nuclei, against watersheds of other prominences."""

import numpy as np
import pytest
from test_label import blobs, maps_of_discs, noise, noisy_nuclei

from nucleiseg._native import cpu

MOST = 90


def joined(table: tuple[np.ndarray, ...], prominence: int) -> tuple[np.ndarray, np.ndarray]:
    """Areas and peaks after each nucleus of less than a prominence has joined its neighbour."""
    _, areas, peaks, prominences, neighbours = table
    whole, kept = areas.copy(), np.ones(areas.size, bool)
    for index in range(areas.size):
        target = index
        while prominences[target] < prominence:
            target = neighbours[target]
        if target != index:
            whole[target] += areas[index]
            kept[index] = False
            assert peaks[target] >= peaks[index]
    return whole[kept], peaks[kept]


def scenes(rng: np.random.Generator) -> list[np.ndarray]:
    return [
        noise(rng, 40, 60, 4),
        noise(rng, 60, 40, 256),
        blobs(rng, 90, 130, 5),
        blobs(rng, 90, 130),
        noisy_nuclei(rng, 120, 140),
        noisy_nuclei(rng, 1100, 1000),  # several strips
    ]


@pytest.mark.parametrize("marker", [0, 100, 255])
@pytest.mark.parametrize("prominence", [0, 8])
def test_it_holds_the_nuclei_of_every_prominence(rng, level, marker, prominence):
    for maps in scenes(rng):
        table = cpu.nuclei(maps, 100, marker, prominence, 0, 0, 0, None, MOST, threads=2)
        for more in {prominence, 20, 55, MOST}:
            areas, peaks = joined(table, more)
            labels, count = cpu.label(maps, 100, marker, more, 0)
            np.testing.assert_array_equal(
                np.sort(areas), np.sort(np.bincount(labels.ravel(), minlength=1)[1:])
            )
            for least in (60, 120, 180):
                kept = np.sort(areas[peaks >= least])
                labels, count = cpu.label(maps, 100, marker, more, 0, least)
                assert count == kept.size
                np.testing.assert_array_equal(kept, np.sort(np.bincount(labels.ravel())[1:]))


def test_its_labels_are_those_of_label(rng, layout):
    maps = blobs(rng, 90, 104)
    rule = (110, 140, 20, 40, 60, 150)
    expected, count = cpu.label(maps, *rule)
    labels, areas, *_ = cpu.nuclei(layout(maps), *rule, None, MOST)
    np.testing.assert_array_equal(labels, expected, strict=True)
    assert areas.size > count > 1  # also nuclei that have no label


@pytest.mark.parametrize("threads", [2, 5])
@pytest.mark.parametrize("levels", [3, 256])
def test_the_thread_count_does_not_matter(rng, threads, levels):
    maps = blobs(rng, 1 << 13, 100, levels)
    expected = cpu.nuclei(maps, 100, 120, 8, 4, 0, 0, None, MOST)
    found = cpu.nuclei(maps, 100, 120, 8, 4, 0, 0, None, MOST, threads=threads)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


def test_discs_that_touch_name_each_other():
    maps, _ = maps_of_discs((100, 160), [(50, 40, 25), (50, 75, 14), (50, 130, 12)])
    _, areas, peaks, prominences, neighbours = cpu.nuclei(maps, 128, 128, 20, 0, 0, 0, None, 255)
    assert areas.size == 3
    assert (peaks > 200).all()
    pair = {0, 1}
    low = int(np.argmin(prominences))
    assert low in pair
    assert {int(neighbours[low])} == pair - {low}
    assert 20 <= prominences[low] < 255
    alone = [index for index in range(3) if index != low]
    assert prominences[alone].tolist() == [255, 255]
    assert neighbours[alone].tolist() == alone


def test_nothing_is_no_nucleus():
    labels, *columns = cpu.nuclei(np.zeros((30, 20, 2), np.uint8), 1, 1, 1, 0, 0, 0, None, MOST)
    assert not labels.any()
    assert [(column.size, column.dtype.name) for column in columns] == [
        (0, "int64"),
        (0, "float64"),
        (0, "float64"),
        (0, "int64"),
    ]


@pytest.mark.parametrize("most", [-1, 256])
def test_a_wrong_prominence_is_refused_by_name(most):
    maps = np.zeros((4, 4, 2), np.uint8)
    with pytest.raises(ValueError, match=f"most_prominence: got {most}; accepted is 0 to 255"):
        cpu.nuclei(maps, 1, 1, 1, 0, 0, 0, None, most)
    with pytest.raises(ValueError, match="most_prominence: got 19; accepted is prominence or more"):
        cpu.nuclei(maps, 1, 1, 20, 0, 0, 0, None, 19)
