from pathlib import Path

import aperio
import pytest
from runs import run

DATA = Path(__file__).parents[1] / "data/images"


@pytest.fixture(scope="session")
def tiles():
    names = ("hematoxylin_eosin.png", "purple_on_violet.png", "purple_on_white.png")
    return aperio.tissue_tiles(aperio.pictures(DATA, *names), 12)


@pytest.fixture(scope="session")
def svs(tiles, tmp_path_factory):
    """An Aperio slide of 3,300 x 2,700 pixels, half of it tissue."""
    path = tmp_path_factory.mktemp("slide") / "synthetic.svs"
    width, height = 3300, 2700
    aperio.write(path, aperio.layout(tiles, width, height, 0.5), width, height)
    return path


@pytest.fixture(scope="session")
def unbroken(svs, tmp_path_factory):
    """The files of a run in regions of 1,024 pixels that nothing disturbs."""
    return run(svs, tmp_path_factory.mktemp("unbroken"), side=1024)
