"""The tools, one file each, with the same interface: a class ``Program``.

``Program(threads, files)`` loads the tool. ``weights`` is "trained" or "random", ``about`` says in
a sentence what runs, and ``packages`` names what is worth a version. ``take(image, labels)`` gets
ready for a picture, (H, W, 3) uint8, whose nuclei are ``labels``, (H, W) int32. ``run()`` puts it
through once and gives the seconds of each output: "maps" is the network alone, "mask" and "labels"
are all that the tool does to give them.

Where trained weights do not come with the packages, the real network runs with random ones, which
cost the same. Its maps would be noise, though, and what comes after it would do something else than
it does for its users. So the network's answer is taken in full and then replaced by ``labels`` as
this tool would draw them: the maps of a perfect network.
"""

from __future__ import annotations

import time
from collections.abc import Callable


def seconds(function: Callable[..., object], *arguments: object, **options: object) -> float:
    """Time one call."""
    begin = time.perf_counter()
    function(*arguments, **options)
    return time.perf_counter() - begin
