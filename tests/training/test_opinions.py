"""What shipped models see in an image, in many looks."""

import numpy as np
import pytest

from nucleiseg import Segmenter
from training import data, opinions


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter("nuclei-fast")


@pytest.fixture(scope="module")
def sample(request):
    training, _ = data.load_split([request.path.parents[1] / "data"])
    return training[0]


@pytest.mark.parametrize("scale", [0.75, 1.0, 1.375, 2.0])
@pytest.mark.parametrize("turn", opinions.TURNS)
def test_every_look_lies_in_the_image_s_own_frame(segmenter, sample, turn, scale):
    own = segmenter.segment(sample.image, output="maps", scale=1.0)[..., 0] > 127
    seen = opinions.look(segmenter, sample.image, *turn, scale)[..., 0] > 127
    assert seen.shape == own.shape
    dice = 2 * (own & seen).sum() / (own.sum() + seen.sum())
    for shift in ((0, 2), (2, 0), (0, -2), (-2, 0)):
        moved = np.roll(seen, shift, (0, 1))
        assert dice > 2 * (own & moved).sum() / (own.sum() + moved.sum())


def test_a_model_speaks_only_of_its_data_sets(segmenter, sample):
    everywhere = opinions.Witness(segmenter, None)
    elsewhere = opinions.Witness(segmenter, frozenset({"another"}))
    here = opinions.Witness(segmenter, frozenset({sample.dataset}))
    expected = opinions.opinion(sample, [everywhere])
    np.testing.assert_array_equal(opinions.opinion(sample, [here, elsewhere]), expected)
    assert expected.shape == (*sample.labels.shape, 2)
    with pytest.raises(ValueError, match="opinions: no model of --models speaks of data set"):
        opinions.opinion(sample, [elsewhere])
