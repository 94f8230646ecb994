"""Foundation encoders give the features of the original libraries, from files of each layout."""

import pytest

from tests.foundation import CASES, assert_features, images
from tests.pretrained.foundation_files import write
from tfcontrastive.pretrained import load


@pytest.mark.parametrize("name", CASES)
def test_features_are_those_of_the_original(name, tmp_path):
    """At the size that it was trained at, and at another, for which places are interpolated as the original does."""
    case = CASES[name]
    found = load(write(case, tmp_path))
    for size, expected in case["features"]:
        assert_features(found.encoder(images(size)), expected)
    assert set(found.report.facts) == {"licence", "feature", "layout", "preprocessing", "image_size"}
