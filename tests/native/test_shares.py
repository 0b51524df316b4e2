"""Threads that calls in progress share: the C++ class, and calls of a segmenter."""

import threading

import numpy as np
import pytest
from programs import ROOT, SANE, compiler, run

from nucleiseg import Segmenter, images

EXAMPLE = ROOT / "tests" / "data" / "images" / "purple_on_violet.png"


@pytest.mark.parametrize("options", [[], ["-fsanitize=thread", "-g"]], ids=["plain", "race"])
def test_calls_share_threads_in_their_order(tmp_path, options):
    program = tmp_path / "shares_test"
    sources = [ROOT / "tests/cpp/shares_test.cpp", ROOT / "csrc/threads/shares.cpp"]
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-pthread", *options]
    built = run(compiler(), *flags, "-I", ROOT / "csrc", *sources, "-o", program)
    assert built.returncode == 0, built.stdout
    printed = run(program)
    assert printed.returncode == 0, printed.stdout
    assert SANE.search(printed.stdout), printed.stdout


@pytest.mark.parametrize("threads", [1, 3])
def test_calls_at_once_give_what_one_gives(threads):
    """Also those whose tiles are large, which take turns."""
    segmenter = Segmenter(device="cpu", threads=threads)
    image = np.tile(images.read(EXAMPLE), (3, 3, 1))[:1056, :1100]
    expected = {scale: segmenter.segment(image, "labels", scale=scale) for scale in (1, 4)}
    wrong = []

    def work(scale):
        for _ in range(2):
            if not np.array_equal(segmenter.segment(image, "labels", scale=scale), expected[scale]):
                wrong.append(scale)

    calls = [threading.Thread(target=work, args=(scale,)) for scale in (1, 4, 1, 4)]
    for call in calls:
        call.start()
    for call in calls:
        call.join()
    assert not wrong


def test_results_of_a_cpu_are_on_the_host():
    with pytest.raises(ValueError, match="to_host: got False, but this Segmenter runs on the CPU"):
        Segmenter(device="cpu").segment(np.zeros((8, 8), np.uint8), to_host=False)
