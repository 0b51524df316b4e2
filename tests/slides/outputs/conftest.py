from pathlib import Path

import pytest
from synthetic_nuclei import regions, slide_info

from nucleiseg.slides.outputs import grouped
from nucleiseg.slides.outputs.grouped import concatenated

COUNT = 9000


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
def small_groups(monkeypatch):
    """Groups far smaller than a region, so that a few thousand nuclei are several."""
    monkeypatch.setattr(grouped, "GROUP", 2000)


@pytest.fixture
def write(info, tmp_path):
    """Write an output and return its path."""

    def written(output, nuclei=None, labels=(), folder=tmp_path, info=info):
        folder.mkdir(parents=True, exist_ok=True)
        output.begin(info, folder)
        if nuclei is not None:
            output.add(nuclei)
        for row, column, block in labels:
            output.add_labels(row, column, block)
        output.finish()
        return folder / output.name

    return written
