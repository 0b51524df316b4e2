"""The threads that are kept between calls: simultaneous calls, forks, signals and the end."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from nucleiseg._native import cpu

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")

PICTURE = np.arange(512 * 512 * 3, dtype=np.uint32).astype(np.uint8).reshape(512, 512, 3)

BEGIN = """
import os, sys, threading, time
import numpy as np
from nucleiseg._native import cpu

def normalized(threads):
    picture = np.arange(512 * 512 * 3, dtype=np.uint32).astype(np.uint8).reshape(512, 512, 3)
    return cpu.normalize(picture, 3, 200, threads=threads)

def others():
    return set(os.listdir("/proc/self/task")) - {str(os.getpid())}

before = others()
expected = normalized(1)
assert others() == before
assert np.array_equal(normalized(3), expected)
helpers = others() - before
assert len(helpers) == 2, helpers
"""


def program(text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BEGIN + text],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )


def assert_fine(text: str) -> None:
    done = program(text)
    assert done.returncode == 0, done.stderr


def test_calls_after_each_other_use_the_same_threads():
    assert_fine("""
for threads in (2, 3, 1, 3):
    assert np.array_equal(normalized(threads), expected)
assert others() - before == helpers
""")


def test_a_fork_has_threads_of_its_own():
    assert_fine("""
child = os.fork()
if child == 0:
    alone = len(others())
    same = np.array_equal(normalized(3), expected)
    os._exit(0 if same and (alone, len(others())) == (0, 2) else 1)
assert os.waitpid(child, 0)[1] == 0
assert np.array_equal(normalized(3), expected)
""")


def test_a_fork_in_the_midst_of_another_threads_call_works():
    assert_fine("""
stop = False
def work():
    while not stop:
        normalized(3)
worker = threading.Thread(target=work)
worker.start()
for _ in range(20):
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(normalized(3), expected) else 1)
    assert os.waitpid(child, 0)[1] == 0
stop = True
worker.join()
""")


def test_signals_go_to_the_programs_own_threads():
    assert_fine("""
for helper in helpers:
    with open(f"/proc/self/task/{helper}/status") as status:
        blocked = next(line for line in status if line.startswith("SigBlk"))
    assert int(blocked.split()[1], 16) & 1 << 1, blocked  # SIGINT
""")


def test_a_program_ends_while_threads_wait_or_work():
    begin = time.monotonic()
    assert_fine("""
def work():
    while True:
        normalized(3)
threading.Thread(target=work, daemon=True).start()
time.sleep(0.1)
""")
    assert time.monotonic() - begin < 30


def test_a_program_ends_while_a_thread_makes_many_short_calls():
    """Each takes Python's lock back, which before Python 3.14 ends the thread by unwinding."""
    assert_fine("""
small = np.zeros((64, 64, 3), np.uint8)
def work():
    while True:
        cpu.normalize(small, 3, 200, threads=3)
threading.Thread(target=work, daemon=True).start()
time.sleep(0.05)
""")


def test_threads_without_work_take_no_time():
    cpu.normalize(PICTURE, 3, 200, threads=4)
    time.sleep(0.05)
    begin = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - begin < 0.1


def test_simultaneous_calls_give_what_single_ones_give():
    expected = cpu.normalize(PICTURE, 3, 200)
    with ThreadPoolExecutor(6) as pool:
        found = pool.map(
            lambda index: cpu.normalize(PICTURE, 3, 200, threads=1 + index % 4), range(60)
        )
        for one in found:
            np.testing.assert_array_equal(one, expected)
