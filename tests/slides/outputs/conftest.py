from pathlib import Path

import pytest
from synthetic_nuclei import concatenated, regions, slide_info

COUNT = 9000

CHUNK = 2000
"""Nuclei that an output is given at once: far fewer than a region has."""


@pytest.fixture(scope="session")
def parts():
    """Two regions of a slide: their nuclei, and the row, column and block of their labels."""
    return list(regions(COUNT))


@pytest.fixture(scope="session")
def nuclei(parts):
    return concatenated([one for one, *_ in parts])


@pytest.fixture
def info():
    return slide_info(COUNT, Path("slides/tissue 1.svs"))


@pytest.fixture
def write(info, tmp_path):
    """Write an output and return its path."""

    def written(output, nuclei=None, labels=(), folder=tmp_path, info=info):
        folder.mkdir(parents=True, exist_ok=True)
        output.begin(info, folder)
        if nuclei is not None:
            for first in range(0, max(1, len(nuclei)), CHUNK):
                output.add(nuclei.part(first, first + CHUNK))
        for row, column, block in labels:
            output.add_labels(row, column, block)
        output.finish()
        return folder / output.name

    return written
