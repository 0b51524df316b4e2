"""Which basins merge, against the definition in ``csrc/kernels/merge.h``, written in Python."""

import math
from fractions import Fraction

import numpy as np
import pytest
from machines import Machine, sizes
from test_label import Reference, blobs, noise, noisy_nuclei

from nucleiseg import Model
from nucleiseg._native import cpu

PLAIN = (120, 60, 4, 3, 20, 124)
"""Of basins that hardly stand out, most nuclei may still merge."""

UNITS, INPUTS, MOST_WEIGHT = 16, 12, 2**20

Shape = tuple[int, int, int]
Side = tuple[int, int, int, int]
Merging = tuple[float, int, tuple[int, ...]]


@pytest.fixture(scope="module")
def learned() -> Merging:
    return Model.load().label_rule()[-1]


def at_random(rng: np.random.Generator) -> Merging:
    """Weights of which the inputs decide, not the offsets alone."""
    weights = rng.integers(
        -MOST_WEIGHT, MOST_WEIGHT, UNITS * (INPUTS + 1) + UNITS + 1, endpoint=True
    )
    weights[INPUTS :: INPUTS + 1] //= 8
    return 1 / rng.uniform(0.3, 8) ** 2, int(rng.integers(1, 256)), tuple(weights.tolist())


def always(says: bool, prominence: int = 255) -> Merging:
    return 1.0, prominence, (*[0] * (UNITS * (INPUTS + 1) + UNITS), 1 if says else -1)


def shape_of(pixels: list[tuple[int, int]], pixel: float) -> Shape:
    """Diameter, fill and elongation; the shifts leave the most significant 30 bits."""
    area = len(pixels)
    middle = [Fraction(sum(axis), area) for axis in zip(*pixels, strict=True)]

    def covariance(i: int, k: int) -> int:
        parts = sum((p[i] - middle[i]) * (p[k] - middle[k]) for p in pixels) / area
        return int(12 * area**2 * (parts + (Fraction(1, 12) if i == k else 0)))

    down, across, both = covariance(0, 0), covariance(1, 1), abs(covariance(0, 1))
    shift = max(0, (down | across | both).bit_length() - 30)
    down, across, both = down >> shift, across >> shift, both >> shift
    root = math.sqrt(max(1, down * across - both**2))
    cubed = float(area) * float(area) * float(area)
    return (
        min(4095, int(math.sqrt(area * pixel) * 16)),
        min(512, int(cubed * (256 * 3 / math.pi) / (root * 2.0**shift))),
        min(2560, int((down + across) * 128.0 / root)),
    )


def says_one(one: Side, other: Side, both: Shape, saddle: int, merging: Merging) -> bool:
    lower, higher = sorted((one, other))
    sides = [value for three in zip(lower[1:], higher[1:], both, strict=True) for value in three]
    inputs = [lower[0] - saddle, lower[0], higher[0], *sides]
    *units, output = np.split(
        np.array(merging[2]), range(INPUTS + 1, UNITS * (INPUTS + 1) + 1, INPUTS + 1)
    )
    total = int(output[-1]) * 2**20
    for unit, weight in zip(units, output, strict=False):
        value = sum(int(w) * x for w, x in zip(unit, [*inputs, 2**12], strict=True))
        total += int(weight) * max(0, value)
    return total > 0


def merged(
    reference: Reference, nuclei: dict[tuple[int, int], list], merging: Merging
) -> list[list[tuple[int, int]]]:
    """The pixels of each nucleus, after every one asked at its highest pass."""
    owner = {pixel: peak for peak, pixels in nuclei.items() for pixel in pixels}
    sides = {
        peak: (int(reference.height[peak]), *shape_of(pixels, merging[0]))
        for peak, pixels in nuclei.items()
    }
    name = {basin: owner[basin] for basin in set(reference.basin.values())}
    highest: dict[tuple[int, int], tuple] = {}
    for height, one, other in reference.passes():
        if name[one] != name[other]:
            for peak in (name[one], name[other]):
                highest.setdefault(peak, (int(height), name[one], name[other]))
    group = {peak: peak for peak in nuclei}
    for peak, (height, one, other) in highest.items():
        if sides[peak][0] - height >= 16 * merging[1]:
            continue
        both = shape_of(nuclei[one] + nuclei[other], merging[0])
        if says_one(sides[one], sides[other], both, height, merging):
            group = {p: group[one] if now == group[other] else now for p, now in group.items()}
    found: dict[tuple[int, int], list] = {}
    for peak, pixels in nuclei.items():
        found.setdefault(group[peak], []).extend(pixels)
    return list(found.values())


def reference_label(maps: np.ndarray, rule: tuple, merging: Merging) -> np.ndarray:
    threshold, marker, prominence, min_area, min_peak, min_probability = rule
    reference = Reference(maps, threshold)
    nuclei = merged(reference, reference.nuclei(marker, prominence), merging)
    labels = np.zeros(maps.shape[:2], np.int32)
    number = 0
    for pixels in sorted(nuclei, key=min):
        probability = np.mean([reference.probability[p] for p in pixels])
        peak = max(reference.height[p] for p in pixels)
        if len(pixels) >= min_area and peak >= 16 * min_peak and probability >= min_probability:
            number += 1
            labels[tuple(np.transpose(pixels))] = number
    return labels


@pytest.mark.parametrize("scene", [blobs, noisy_nuclei])
def test_what_merges_is_what_the_definition_says(rng, scene, learned):
    changed = 0
    for i, (height, width) in enumerate(sizes(rng, 12, 64)):
        maps = scene(rng, height, width)
        for merging in (learned, learned._replace(pixel=0.1), at_random(rng)):
            labels, count = cpu.label(maps, *PLAIN, merging, threads=1 + i % 3)
            expected = reference_label(maps, PLAIN, merging)
            np.testing.assert_array_equal(labels, expected, strict=True)
            assert count == labels.max()
            changed += count != cpu.label(maps, *PLAIN)[1]
    assert changed > 3


def test_none_or_all_merge(rng):
    maps = noisy_nuclei(rng, 200, 160)
    every = (*PLAIN[:3], 0, 0, 0)
    plain, count = cpu.label(maps, *every)
    never, _ = cpu.label(maps, *every, always(says=False))
    np.testing.assert_array_equal(never, plain)
    fewer, left = cpu.label(maps, *every, always(says=True))
    assert 2 * left < count
    np.testing.assert_array_equal(fewer > 0, plain > 0)


def test_a_basin_that_stands_out_too_far_does_not_ask(rng):
    maps = noisy_nuclei(rng, 200, 160)
    counts = [
        cpu.label(maps, *PLAIN, always(says=True, prominence=prominence))[1]
        for prominence in (4, 8, 16, 32, 255)
    ]
    assert counts[0] == cpu.label(maps, *PLAIN)[1]  # all of these have merged already
    assert counts == sorted(counts, reverse=True)
    assert len(set(counts)) > 3


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_the_thread_count_does_not_matter(rng, threads, learned):
    for maps in (noisy_nuclei(rng, 900, 700), noisy_nuclei(rng, 40, 1 << 14)):
        expected, count = cpu.label(maps, *PLAIN, learned, threads=1)
        labels, found = cpu.label(maps, *PLAIN, learned, threads=threads)
        np.testing.assert_array_equal(labels, expected)
        assert found == count


def test_bands_merge_as_the_whole_does(rng, learned):
    maps = noisy_nuclei(rng, 1100, 600)
    whole, _ = cpu.label(maps, *PLAIN, learned)
    for merging in (learned, at_random(rng)):
        whole, _ = cpu.label(maps, *PLAIN, merging)
        bands = cpu.LabelBands(*maps.shape[:2], np.arange(1100), np.arange(600), *PLAIN, merging)
        while bands.next < len(maps):
            end = min(len(maps), bands.next + 170)
            first = max(0, bands.next - bands.margin)
            bands.add(maps[first : end + bands.margin], first, end, threads=2)
        np.testing.assert_array_equal(bands.finish(threads=2), whole)


def test_the_table_is_of_merged_nuclei(rng, learned):
    maps = noisy_nuclei(rng, 150, 170)
    rule = (*PLAIN[:3], 0, 0, 0)
    labels, count = cpu.label(maps, *rule, learned)
    found, areas, *_ = cpu.nuclei(maps, *rule, learned, 75)
    np.testing.assert_array_equal(found, labels)
    np.testing.assert_array_equal(areas, np.bincount(labels.ravel(), minlength=count + 1)[1:])


@pytest.mark.parametrize("scene", [noise, blobs, noisy_nuclei])
def test_devices_merge_as_the_cpu_does(rng, machine: Machine, scene, learned):
    for seed, (height, width) in enumerate(sizes(rng, 12, 300)):
        machine.shuffle(seed)
        maps = scene(rng, height, width, 256) if scene is noise else scene(rng, height, width)
        for merging in (learned, at_random(rng)):
            workspace = machine.scratch(machine.kernels.label_workspace(height, width))
            labels, count = machine.kernels.label(
                machine.put(maps), *PLAIN, merging, stream=machine.stream, workspace=workspace
            )
            expected, expected_count = cpu.label(maps, *PLAIN, merging)
            np.testing.assert_array_equal(machine.get(labels), expected, strict=True)
            assert int(machine.get(count)[0]) == expected_count


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"pixel": 0.0}, "merging: got 0.000000, 64; accepted begins with an area above 0"),
        ({"pixel": math.nan}, "merging: got nan, 64; accepted begins with an area above 0"),
        ({"prominence": 0}, "merging: got 1.000000, 0; .* a prominence of 1 to 255"),
        ({"prominence": 256}, "merging: got 1.000000, 256; .* a prominence of 1 to 255"),
        ({"weights": (1, 2)}, "merging: got 2 weights; accepted has 225"),
        ({"weights": (MOST_WEIGHT + 1,) * 225}, "merging: got 1048577; .* from -2\\*\\*20 to 2"),
    ],
)
def test_wrong_merging_is_named(learned, changed, message):
    with pytest.raises(ValueError, match=message):
        cpu.label(np.zeros((8, 8, 2), np.uint8), *PLAIN, learned._replace(**changed))
