"""What users import is there, and is documented."""

import pytest

import tfcontrastive
from tfcontrastive import losses

LOSSES = ("nt_xent", "info_nce", "symmetric_info_nce", "relic", "negative_cosine", "sup_con", "barlow_twins", "alignment",
          "uniformity", "distillation")  # fmt: skip


@pytest.mark.parametrize("name", tfcontrastive.__all__)
def test_a_listed_name_exists(name):
    assert getattr(tfcontrastive, name) is not None


@pytest.mark.parametrize("name", sorted(tfcontrastive._NAMES))
def test_a_public_name_has_a_docstring(name):
    value = getattr(tfcontrastive, name)
    assert isinstance(value, dict) or value.__doc__


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_tells_shapes_and_source(name):
    text = getattr(losses, name).__doc__
    for part in ("Args:", "Returns:", "Example:", "Source", "[B" if name != "uniformity" else "[N"):
        assert part in text


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="SimCLR9"):
        tfcontrastive.SimCLR9  # noqa: B018
