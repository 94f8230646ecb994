"""Configs refuse what breaks their rules, and say which rule and value."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfcontrastive import config as config_lib
from tfcontrastive.config import (
    BaseConfig,
    EncoderConfig,
    InputError,
    LoopConfig,
    OptimizerConfig,
    TrainConfig,
    setting,
)
from tfcontrastive.evaluate import KNN
from tfcontrastive.methods import METHODS


@dataclasses.dataclass(frozen=True)
class Example(BaseConfig):
    rate: float = setting(0.5, "A rate.", above=0, at_most=1)
    size: int | None = setting(None, "A size.", at_least=1)
    kind: str = setting("plain", "A kind.", choices=("plain", "fancy"))


@given(st.floats(allow_nan=False))
def test_a_range_is_kept(rate):
    if 0 < rate <= 1:
        assert Example(rate=rate).rate == rate
    else:
        with pytest.raises(InputError, match="`rate` must be"):
            Example(rate=rate)


def test_nan_keeps_no_range():
    with pytest.raises(InputError, match="`rate` must be > 0"):
        Example(rate=float("nan"))


def test_the_message_names_argument_rule_and_value():
    with pytest.raises(InputError, match=r"^`rate` must be > 0. Received: rate=-0.1\.$"):
        Example(rate=-0.1)


def test_a_near_name_is_offered():
    with pytest.raises(InputError, match="Did you mean 'plain'"):
        Example(kind="plane")


@pytest.mark.parametrize("values", [{"size": 2.5}, {"size": "2"}, {"kind": None}, {"rate": True}])
def test_a_wrong_type_is_refused(values):
    with pytest.raises(InputError, match="must be"):
        Example(**values)


def test_an_int_is_a_float():
    assert type(Example(rate=1).rate) is float


def test_defaults_are_the_published_constants():
    defaults = {name: kind.Config() for name, kind in METHODS.items()}
    published = {
        ("byol", "target_momentum"): 0.996, ("byol", "target_momentum_ramp"): True, ("byol", "hidden_dim"): 4096,
        ("moco", "temperature"): 0.07, ("moco", "queue_size"): 65_536, ("moco", "target_momentum"): 0.999,
        ("moco_v3", "temperature"): 1.0, ("moco_v3", "target_momentum"): 0.99, ("moco_v3", "hidden_dim"): 4096,
        ("relic", "target_momentum"): 0.996, ("relic", "critic_hidden_dim"): 4096, ("relic", "proj_out_dim"): 128,
        ("supcon", "temperature"): 0.1, ("supcon", "hidden_dim"): 2048, ("simclr", "temperature"): 0.1,
        ("simclr", "target_momentum"): 0.999, ("barlow_twins", "off_diagonal_weight"): 0.0051,
        ("barlow_twins", "hidden_dim"): 8192, ("instdisc", "temperature"): 0.07, ("instdisc", "num_negatives"): 4096,
        ("instdisc", "bank_momentum"): 0.5, ("local_aggregation", "num_neighbours"): 4096,
        ("local_aggregation", "num_clusterings"): 10, ("local_aggregation", "num_clusters"): 30_000,
        ("local_aggregation", "temperature"): 0.07, ("amdim", "clip"): 20.0, ("amdim", "score_penalty"): 0.05,
        ("dim", "hidden_dim"): 2048, ("deepcluster_v2", "num_prototypes"): 3000, ("deepcluster_v2", "num_clusterings"): 3,
        ("deepcluster_v2", "clustering_iterations"): 10, ("relic_v2", "target_momentum"): 0.996,
        ("simsiam", "hidden_dim"): 2048,
        ("simsiam", "predictor_hidden_dim"): 512,
        ("vicreg", "hidden_dim"): 8192, ("vicreg", "invariance_weight"): 25.0, ("vicreg", "variance_weight"): 25.0,
        ("vicreg", "covariance_weight"): 1.0, ("nnclr", "queue_size"): 98_304, ("nnclr", "temperature"): 0.1,
        ("swav", "temperature"): 0.1, ("swav", "epsilon"): 0.05, ("swav", "num_prototypes"): 3000,
        ("swav", "proj_out_dim"): 128, ("dino", "num_prototypes"): 65_536, ("dino", "student_temperature"): 0.1,
        ("dino", "target_momentum"): 0.996, ("dino", "center_momentum"): 0.9,
        ("emp_ssl", "similarity_weight"): 200.0, ("emp_ssl", "epsilon_squared"): 0.2,
        ("simclr", "decoupled"): False, ("dcl", "sigma"): None, ("jigsaw", "num_permutations"): 1000,
        ("jigsaw", "hidden_dim"): 1000, ("pirl", "temperature"): 0.07, ("pirl", "num_negatives"): 32_000,
        ("pirl", "bank_momentum"): 0.5, ("pirl", "tiles_weight"): 0.5, ("pirl", "objective"): "nce",
        ("cmc", "num_negatives"): 16_384, ("cmc", "bank_momentum"): 0.5, ("cmc", "channel_groups"): "lab",
    }  # fmt: skip
    assert {(method, name): getattr(defaults[method], name) for method, name in published} == published
    assert (KNN().k, KNN().temperature, LoopConfig().knn_k, LoopConfig().knn_temperature) == (200, 0.1, 200, 0.1)


def test_leaves_reach_every_group_and_replace_checks_again():
    config = TrainConfig()
    assert {"dataset", "learning_rate", "train_batch_size", "method"} <= set(config_lib.flat_fields(config))
    changed = config_lib.replace_flat(config, {"learning_rate": 1.5, "train_epochs": 3})
    assert (changed.optimizer.learning_rate, changed.loop.train_epochs) == (1.5, 3)
    assert config.optimizer.learning_rate == 0.3
    with pytest.raises(InputError, match="`learning_rate` must be > 0"):
        config_lib.replace_flat(config, {"learning_rate": 0.0})


def test_differences_leave_out_what_may_change():
    old = config_lib.nested(TrainConfig())
    new = TrainConfig(optimizer=OptimizerConfig(weight_decay=0.0), loop=LoopConfig(checkpoint_steps=7, model_dir="x"))
    assert config_lib.differences(old, new) == {"weight_decay": (1e-6, 0.0)}


@dataclasses.dataclass(frozen=True)
class OwnConfig(BaseConfig):
    """Of a method whose fields have the names of the run's."""

    momentum: float = setting(0.5, "A momentum.")
    seed: int = setting(3, "A seed.", may_change=True)
    plain: int = 4


def test_configs_are_stored_by_their_owners():
    config = TrainConfig(method_config=OwnConfig(momentum=0.1, plain=7), optimizer=OptimizerConfig(momentum=0.8))
    stored = json.loads(json.dumps(config_lib.nested(config)))
    assert (stored["method_config"]["momentum"], stored["optimizer"]["momentum"]) == (0.1, 0.8)
    assert "defaults" not in stored
    assert config_lib.from_nested(TrainConfig(method_config=OwnConfig()), stored) == config
    assert "seed" not in config_lib.nested(config, lasting=True)["method_config"]
    assert config_lib.nested(config, lasting=True)["loop"]["seed"] == 0


def test_a_difference_is_named_with_its_owner_where_several_have_the_name():
    stored = config_lib.nested(TrainConfig(method_config=OwnConfig()))
    changed = TrainConfig(
        method_config=OwnConfig(momentum=0.1, seed=9, plain=5), optimizer=OptimizerConfig(weight_decay=0.5)
    )
    assert config_lib.differences(stored, changed) == {
        "method_config.momentum": (0.5, 0.1),
        "plain": (4, 5),
        "weight_decay": (1e-6, 0.5),
    }


def test_a_stored_setting_that_there_is_not_is_refused():
    stored = config_lib.nested(TrainConfig(method_config=OwnConfig()))
    stored["optimizer"]["momentums"] = 1
    with pytest.raises(InputError, match=r"OptimizerConfig must be one of .*'momentums'. Did you mean 'momentum'"):
        config_lib.from_nested(TrainConfig(method_config=OwnConfig()), stored)


def test_two_owners_of_a_name_are_no_flag():
    with pytest.raises(
        InputError, match=r"^`momentum` must be .* both OwnConfig and OptimizerConfig\. .* another name"
    ):
        config_lib.flat_fields(TrainConfig(method_config=OwnConfig()))


@pytest.mark.parametrize("value", [float("inf"), float("-inf")])
def test_a_number_is_finite(value):
    with pytest.raises(InputError, match="`momentum` must be a finite number"):
        OwnConfig(momentum=value)


def test_numbers_to_choose_from_are_listed_in_order():
    with pytest.raises(InputError, match=r"must be one of 18, 34, 50, 101, 152, 200\. Received: 19"):
        EncoderConfig(resnet_depth=19)


@pytest.mark.parametrize(("former", "now"), [("Checked", BaseConfig), ("option", setting)])
def test_names_of_before_still_import_and_say_the_new_ones(former, now):
    with pytest.warns(FutureWarning, match=rf"config\.{former} is {now.__name__} now"):
        assert getattr(config_lib, former) is now


def test_weights_of_dclw_are_refused_without_dcl():
    with pytest.raises(
        InputError, match=r"`decoupled_sigma` must be left out without `decoupled`.*decoupled_sigma=0.5"
    ):
        METHODS["simclr"].Config(decoupled_sigma=0.5)
    assert METHODS["simclr"].Config(decoupled=True, decoupled_sigma=0.5).decoupled_sigma == 0.5


def test_the_size_of_tiles_is_refused_without_tiles():
    with pytest.raises(InputError, match=r"`tile_size` must be left out without `jigsaw_weight`.*tile_size=64"):
        METHODS["moco"].Config(tile_size=64)
    assert METHODS["moco"].Config(tile_size=64, jigsaw_weight=0.5).tile_size == 64


@pytest.mark.parametrize("grids", ["4,2,1", "4,2,2,1,1", "0,0,0,0", "4,-2,2,1", "a,b,c,d", "4;2;2;1", "1.5,0,0,0"])
def test_grids_are_four_numbers_of_cells(grids):
    with pytest.raises(InputError, match=r"`feature_grids` must be four numbers of cells.* Received: feature_grids="):
        EncoderConfig(feature_grids=grids)
