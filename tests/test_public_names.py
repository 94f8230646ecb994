"""What users import is there, and is documented."""

import inspect

import pytest

import tfcontrastive
from tfcontrastive import losses

# As they are promised: positional arguments, then keyword-only ones with their defaults. More options may follow.
LOSSES = {
    "nt_xent": "(z1, z2, *, temperature, normalize=True, gather=True",
    "info_nce": "(queries, keys, queue, *, temperature",
    "symmetric_info_nce": "(q1, q2, k1, k2, *, temperature",
    "relic": "(z1, z2, targets1, targets2, *, temperature, alpha",
    "negative_cosine": "(p, z",
    "sup_con": "(embeddings, labels, *, temperature",
    "barlow_twins": "(z1, z2, *, off_diagonal_weight",
    "swav": "(scores, assignments, *, temperature",
    "sinkhorn": "(scores, *, epsilon, iterations",
    "dino": "(student, teacher, center, *, student_temperature, teacher_temperature",
    "koleo": "(x",
    "vicreg": "(z1, z2, *, invariance=25.0, variance=25.0, covariance=1.0",
    "dcl": "(z1, z2, *, temperature",
    "nnclr": "(neighbours, p, *, temperature",
    "deep_infomax": "(features, local_features",
    "amdim": "(features, local_features",
    "cpc": "(predictions, targets, *, offset",
    "nce": "(embeddings, positives, negatives, *, temperature, log_normalizer, bank_size",
    "clip": "(images, texts, *, temperature",
    "siglip": "(images, texts, *, scale, bias",
    "sim_cse": "(z1, z2, *, temperature, hard_negatives=None",
    "dpr": "(queries, contexts, *, hard_negatives=None",
    "alignment": "(z1, z2, *, alpha=2",
    "uniformity": "(z, *, t=2",
    "distillation": "(student_logits, teacher_logits, *, temperature",
    "similarity_distillation": "(student, teacher, queue, *, temperature, teacher_temperature",
}


@pytest.mark.parametrize("name", tfcontrastive.__all__)
def test_a_listed_name_exists(name):
    assert getattr(tfcontrastive, name) is not None


@pytest.mark.parametrize("name", sorted(tfcontrastive._NAMES))
def test_a_public_name_has_a_docstring(name):
    value = getattr(tfcontrastive, name)
    assert isinstance(value, dict) or value.__doc__


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_has_its_signature(name):
    signature = inspect.signature(getattr(losses, name))
    bare = [parameter.replace(annotation=parameter.empty) for parameter in signature.parameters.values()]
    assert str(inspect.Signature(bare)).startswith(LOSSES[name])
    more = bare[LOSSES[name].replace("*, ", "").count(",") + 1 :]
    assert all(
        parameter.kind is parameter.KEYWORD_ONLY and parameter.default is not parameter.empty for parameter in more
    )


def test_build_has_its_signature():
    method, encoder, *named, config = inspect.signature(tfcontrastive.build).parameters.values()
    assert (method.name, encoder.name, config.kind) == ("method", "encoder", config.VAR_KEYWORD)
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in named)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_tells_shapes_and_source(name):
    text = getattr(losses, name).__doc__
    for part in ("Args:", "Returns:", "Examples:", "Source", "[B" if name != "uniformity" else "[N"):
        assert part in text


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="SimCLR9"):
        tfcontrastive.SimCLR9  # noqa: B018
