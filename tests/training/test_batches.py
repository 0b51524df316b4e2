"""Crops made by other processes: the same ones wherever a run begins, and no process is left."""

import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from training import augment, batches, data

SMALL = augment.Settings(size=64)


@pytest.fixture(scope="module")
def samples(request):
    return data.load([request.path.parents[1] / "data"])


@pytest.fixture(scope="module")
def source_of(samples):
    """Make a source of two crops a batch."""
    even = np.full(len(samples), 1 / len(samples))
    return lambda seed, chances=even: batches.Source(samples, chances, 2, seed, SMALL)


def take(source, count, first=0):
    with closing(source.endless(first)) as stream:
        return list(itertools.islice(stream, count))


def test_a_batch_depends_on_the_seed_and_its_number_alone(source_of):
    count = 7  # more than the ring has places on two processors
    whole = take(source_of(1), count)
    later = take(source_of(1), 2, first=count - 2)
    np.testing.assert_array_equal(whole[-2:], later)
    assert len({images.tobytes() for images, _, _ in whole}) == count
    assert (take(source_of(2), 1)[0][0] != whole[0][0]).any()


def test_a_batch_is_what_is_cut_from_its_images(source_of, samples):
    """The same draws as here, from images that other processes read from a file."""
    images, maps, clean = take(source_of(1), 1)[0]
    assert images.shape == maps.shape == clean.shape == (2, 64, 64, 3)
    materials = [augment.prepare(sample) for sample in samples]
    styles = np.array([one.style for one in materials if not one.grey], np.float32)
    rng = np.random.default_rng((1, 0))
    chosen = rng.choice(len(samples), 2, p=np.full(len(samples), 1 / len(samples)))
    for at, index in enumerate(chosen):
        crop = augment.crop(materials[index], styles, rng, SMALL)
        np.testing.assert_array_equal([images[at], maps[at], clean[at]], crop)


def test_batches_stay_as_they_were_when_later_ones_are_made(source_of):
    source = source_of(1)
    with closing(source.endless()) as stream:
        kept = next(stream)
        copies = [array.copy() for array in kept]
        for _ in range(source.slots + 1):
            next(stream)
    np.testing.assert_array_equal(kept, copies)


@pytest.mark.parametrize("used", [0, 1])
def test_processes_and_files_are_gone_after_the_stream(source_of, used):
    source = source_of(1)
    before = set(multiprocessing.active_children())
    stream = source.endless()
    for _ in range(used):
        next(stream)
    working = set(multiprocessing.active_children()) - before
    assert working
    folder = Path(source.folder.name)
    assert {path.name for path in folder.iterdir()} == {"pixels.npy", "ring.npy"}
    stream.close()
    assert not any(process.is_alive() for process in working)
    assert not folder.exists()


KILLED = """
import multiprocessing, os, signal, sys
import numpy as np
from training import augment, batches, data

if __name__ == "__main__":
    samples = data.load([sys.argv[1]])[:1]
    stream = batches.Source(samples, np.ones(1), 1, 0, augment.Settings(size=64)).endless()
    next(stream)
    print(*(process.pid for process in multiprocessing.active_children()), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_processes_end_when_the_one_that_learns_is_killed(request, tmp_path):
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    repository = request.path.parents[2]
    environment = os.environ | {"PYTHONPATH": str(repository)}
    command = [sys.executable, str(script), str(repository / "tests" / "data")]
    # Processes that lived on would keep the pipe open.
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == -signal.SIGKILL
    assert result.stdout.split()


def test_a_failure_while_batches_are_made_is_raised_where_they_are_used(source_of, samples):
    with (
        closing(source_of(1, np.ones(len(samples))).endless()) as stream,
        pytest.raises(ValueError, match=r"[Pp]robabilities do not sum to 1"),
    ):
        next(stream)
