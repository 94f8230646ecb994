"""What a method adds to its encoder, as it starts: heads, targets, memories."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.methods.cases import tiny_encoder
from tfcontrastive.encoders import BatchNorm
from tfcontrastive.methods import METHODS, build

SMALL = {"hidden_dim": 6, "proj_out_dim": 4}
RELIC = {"critic_hidden_dim": 16, "proj_out_dim": 4}
MOCO = {"queue_size": 12, "proj_out_dim": 4}
NNCLR = {**SMALL, "queue_size": 12, "predictor_hidden_dim": 5}

# name: (method, settings, projector, predictor). A head is the units of its Dense layers (+b with a bias), BN (bn without
# scale and offset) and ReLU.
HEADS = {
    "moco_v1": ("moco", MOCO, "4+b", None),
    "moco_v2": ("moco", {**MOCO, "moco_head": "mlp"}, "16+b ReLU 4+b", None),
    "moco_v3": ("moco_v3", SMALL, "6 BN ReLU 4 bn", "6 BN ReLU 4"),
    "moco_v3_vit": (
        "moco_v3", {**SMALL, "num_proj_layers": 3, "predictor_last_norm": True},
        "6 BN ReLU 6 BN ReLU 4 bn", "6 BN ReLU 4 bn",
    ),
    "relic": ("relic", RELIC, "16 BN ReLU 8 BN ReLU 4 BN ReLU 2 BN ReLU 4 BN", None),
    "relic_t": ("relic", {**RELIC, "use_target": True}, "16 BN ReLU 4+b", "16 BN ReLU 4+b"),
    "byol": ("byol", SMALL, "6 BN ReLU 4+b", "6 BN ReLU 4+b"),
    "relic_v2": ("relic_v2", RELIC, "16 BN ReLU 4+b", "16 BN ReLU 4+b"),
    "dim": ("dim", SMALL, "6 BN ReLU 4+b", None),
    "cpc": ("cpc", {"patch_side": 4, "patch_stride": 2, "last_offset": 2, "proj_out_dim": 4}, "4+b", "4+b"),
    "amdim": ("amdim", SMALL, "6+b ReLU 4 BN", None),
    "deepcluster_v2": ("deepcluster_v2", {**SMALL, "bank_size": 9, "num_prototypes": 3}, "6 BN ReLU 4+b", None),
    "local_aggregation": (
        "local_aggregation", {"bank_size": 9, "num_neighbours": 4, "num_clusters": 3, "proj_out_dim": 4}, "4+b", None,
    ),
    "supcon": ("supcon", SMALL, "6+b ReLU 4+b", None),
    "barlow_twins": ("barlow_twins", SMALL, "6 BN ReLU 6 BN ReLU 4", None),
    "instdisc": ("instdisc", {"bank_size": 9, "proj_out_dim": 4}, "4+b", None),
    "pirl": ("pirl", {"bank_size": 9, "proj_out_dim": 4}, "4+b", None),
    "pirl_mlp": ("pirl", {"bank_size": 9, "proj_out_dim": 4, "pirl_head": "mlp"}, "16+b ReLU 4+b", None),
    "simsiam": ("simsiam", {**SMALL, "predictor_hidden_dim": 2}, "6 BN ReLU 6 BN ReLU 4 bn", "2 BN ReLU 4+b"),
    "vicreg": ("vicreg", SMALL, "6 BN ReLU 6 BN ReLU 4", None),
    "emp_ssl": ("emp_ssl", SMALL, "6 BN ReLU 4+b", None),
    "swav": ("swav", {**SMALL, "num_prototypes": 3}, "6 BN ReLU 4+b", None),
    "dino": ("dino", {**SMALL, "num_prototypes": 3}, "6+b 6+b 4+b", None),  # with GELU between them
    "nnclr": ("nnclr", NNCLR, "6 BN ReLU 6 BN ReLU 4 BN", "5 BN ReLU 4+b"),
}  # fmt: skip

# Methods whose parts come in pairs: the trained one and the average that follows it.
WITH_TARGETS = {
    "moco": ("moco", {**MOCO, "moco_head": "mlp"}),
    "moco_v3": ("moco_v3", SMALL),
    "byol": ("byol", SMALL),
    "relic_t": ("relic", {**RELIC, "use_target": True}),
    "simclr_v2": ("simclr", {"proj_out_dim": 4, "memory_size": 24}),
}


def in_words(layer):
    if isinstance(layer, keras.layers.Dense):
        return f"{layer.units}+b" if layer.use_bias else f"{layer.units}"
    if isinstance(layer, BatchNorm):
        assert layer.center == layer.scale
        return "BN" if layer.center else "bn"
    return type(layer).__name__


def test_the_tables_have_every_method():
    others = {"simclr", "dcl", "rotation", "jigsaw", "cmc"}  # the head of the first two is in encoders/test_heads.py
    assert {method for method, *_ in HEADS.values()} | others == set(METHODS)


@pytest.mark.parametrize("case", HEADS)
def test_heads_are_the_papers(case):
    method, settings, projector, predictor = HEADS[case]
    model = build(method, tiny_encoder(), **settings)
    assert " ".join(map(in_words, model.projection_head.parts)) == projector
    if predictor is None:
        assert not hasattr(model, "predictor")
    else:
        assert " ".join(map(in_words, getattr(model.predictor, "parts", [model.predictor]))) == predictor


@pytest.mark.parametrize("case", WITH_TARGETS)
def test_targets_start_as_copies_and_keep_their_own_statistics(case):
    method, settings = WITH_TARGETS[case]
    model = build(method, tiny_encoder(), **settings)
    assert model.targets == [(model.target_encoder, model.encoder), (model.target_head, model.projection_head)]
    for target, online in model.targets:
        assert target is not online
        for copy, variable in zip(target.variables, online.variables, strict=True):
            np.testing.assert_array_equal(copy, variable)
        for variable in online.variables:
            variable.assign_add(tf.ones_like(variable))
    statistics = [np.array(variable) for target, _ in model.targets for variable in target.non_trainable_variables]
    model.follow(0.25)
    for target, online in model.targets:
        for copy, variable in zip(target.trainable_variables, online.trainable_variables, strict=True):
            np.testing.assert_allclose(copy, variable - 0.25, rtol=1e-6, atol=1e-6)
    found = [np.array(variable) for target, _ in model.targets for variable in target.non_trainable_variables]
    np.testing.assert_equal(found, statistics)


@pytest.mark.parametrize(
    ("case", "memory"),
    [
        ("moco", "queue.rows"),
        ("simclr_v2", "memory.rows"),
        ("instdisc", "bank"),
        ("nnclr", "queue.rows"),
        ("pirl", "bank.rows"),
    ],
)
def test_memories_start_as_directions(case, memory):
    method, settings, *_ = WITH_TARGETS.get(case) or HEADS[case]
    rows = build(method, tiny_encoder(), **settings)
    for name in memory.split("."):
        rows = getattr(rows, name)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize(("settings", "widths"), [({}, [16, 16, 128]), ({"proj_hidden_dim": 6}, [6, 6, 128])])
def test_simclrs_head_is_as_wide_as_the_features_or_as_told(settings, widths):
    model = build("simclr", tiny_encoder(), **settings, num_classes=3)
    assert [dense.units for dense in model.projection_head.denses] == widths
