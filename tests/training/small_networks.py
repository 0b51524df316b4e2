"""Networks small enough for tests; as a program it is `training.train` with these alone."""

import sys

from training import topology
from training.topology import Topology

NETWORKS = {
    one.name: one
    for one in (
        Topology("tiny", widths=(8, 16), down=(1, 1), up=(1,), stem=3),
        Topology("tiny-wide", widths=(16, 16), down=(1, 1), up=(1,), stem=6),
        Topology("small", widths=(16,) * 5, down=(1,) * 5, up=(1,) * 4, stem=3),
    )
}
"""The last has all levels, as the package's kernels need them."""


if __name__ == "__main__":
    from training import train

    topology.NETWORKS.clear()
    topology.NETWORKS.update(NETWORKS)
    train.main(sys.argv[1:])
