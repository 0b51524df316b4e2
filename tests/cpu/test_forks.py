"""A process that is forked while another thread is at work uses the same Segmenter."""

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

import nucleiseg._native as native
from nucleiseg import Model, Segmenter, backends
from nucleiseg.engines import cuda

SECONDS = 60
"""After which a child that hangs is ended, and the test fails."""


def in_child(work) -> int:
    """Return the exit status of a child process that does the work."""
    child = os.fork()
    if child == 0:
        signal.alarm(SECONDS)
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]


def test_a_call_in_the_midst_of_another_threads():
    """In a process of its own, whose threads are known. A large tile has a lock of its own."""
    code = f"""
import os, signal, threading
import numpy as np
from nucleiseg import Segmenter
segmenter = Segmenter(device="cpu", threads=2)
large = np.random.default_rng(1).integers(0, 255, (1056, 1056, 3), np.uint8)
small = large[:96, :96].copy()
expected = segmenter.segment(small, "labels", scale=1)
done = threading.Event()
def work(image):
    while not done.is_set():
        segmenter.segment(image, "labels", scale=1)
workers = [threading.Thread(target=work, args=(image,), daemon=True) for image in (large, small)]
for worker in workers:
    worker.start()
for _ in range(5):
    child = os.fork()
    if child == 0:
        signal.alarm({SECONDS})
        same = np.array_equal(segmenter.segment(small, "labels", scale=1), expected)
        segmenter.segment(large, "labels", scale=1)
        same &= all(np.array_equal(each, expected)
                    for each in segmenter.map([small] * 3, "labels", scale=1))
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0
done.set()
for worker in workers:
    worker.join()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(not hasattr(native, "emulated"), reason="this build has no _native.emulated")
def test_a_gpu_says_that_its_segmenter_is_the_parents():
    model = Model.load()
    engine = cuda.Engine(model, native.emulated)
    backend = backends.on_gpu(model, native.emulated, engine, 1)
    segmenter, image = Segmenter(device=backend), np.zeros((8, 8), np.uint8)
    worker = threading.Thread(target=segmenter.segment, args=(image,))
    worker.start()

    def work():
        with pytest.raises(RuntimeError, match=r"^device: a Segmenter on a GPU cannot be used aft"):
            segmenter.segment(image)

    assert in_child(work) == 0
    worker.join()
