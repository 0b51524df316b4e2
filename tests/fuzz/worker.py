"""A process that reads inputs one after the other, until one of them ends it.

``python worker.py FORMAT SEED BEGIN END STEP [MODULE]`` prints the number of each input before it
is read, and what became of it after that, as JSON. What takes `KILLED` seconds of processor time,
or more than `MEMORY` bytes beyond what the process needs for itself, is ended by the system. MODULE
is another build of the native module, for native calls.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import util
from pathlib import Path
from random import Random

NATIVE = "native"
KILLED = 5.0
MEMORY = 2**30

Reading = Callable[[int], tuple[str, str]]


def native_reading(seed: int, module: str) -> Reading:
    """Return what makes a call with mostly wrong arguments; imports nothing but the module."""
    if module:
        found = util.spec_from_file_location("_native", module)
        assert found is not None
        assert found.loader is not None
        native = util.module_from_spec(found)
        found.loader.exec_module(native)
    else:
        from nucleiseg import _native as native
    from native_calls import Calls

    return lambda index: Calls(native.cpu, Random(f"{seed} {index}")).one()


def file_reading(name: str, seed: int) -> Reading:
    import formats

    from nucleiseg import images

    images.hush()

    def read(index: int) -> tuple[str, str]:
        files = formats.made(name, seed, index)
        for old in Path().iterdir():
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        for file, data in files.items():
            Path(file).parent.mkdir(exist_ok=True, parents=True)
            Path(file).write_bytes(data)
        signal.setitimer(signal.ITIMER_PROF, KILLED)  # writing is not reading
        return formats.reading(name, Path(Path(next(iter(files))).parts[0]))

    for index in range(len(formats.seeds(name)) if name not in ("corpus", "faulty") else 0):
        read(index)  # so that no input is charged for what is loaded once
    return read


def limit_memory() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))


def main(name: str, seed: str, begin: str, end: str, step: str, module: str = "") -> None:
    # Another thread than this would not be interrupted by the timer's signal, which ends the
    # process whatever it does.
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        os.chdir(folder)
        read = (
            native_reading(int(seed), module) if name == NATIVE else file_reading(name, int(seed))
        )
        if not module:  # the sanitizers reserve more than any limit
            limit_memory()
        for index in range(int(begin), int(end), int(step)):
            os.write(1, f"{index} ".encode())
            signal.setitimer(signal.ITIMER_PROF, KILLED)
            start = time.process_time()
            kind, details = read(index)
            seconds = time.process_time() - start
            details = re.sub("0x[0-9a-f]{6,}", "0x", details)  # addresses of objects
            os.write(1, json.dumps([kind, details, seconds]).encode() + b"\n")
        os.chdir("/")


if __name__ == "__main__":
    main(*sys.argv[1:])
