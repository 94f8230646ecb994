"""What a checkpoint calls a variable: the same in every process, and after a layer has moved."""

import keras
import numpy as np
import pytest

from tests.methods.cases import CASES, make_model
from tfcontrastive import optimizers
from tfcontrastive.config import InputError
from tfcontrastive.models.checkpoint import checkpoint_of, kept, restore
from tfcontrastive.models.classifier import Classifier
from tfcontrastive.models.objectives import CrossEntropy
from tfcontrastive.models.variable_paths import optimizer_paths, variable_paths


def two_branches(order, width=3):
    """A network of two named branches, whose layers are made in this order."""
    images = keras.Input((4,))
    branches = {name: keras.layers.Dense(width, name=name)(images) for name in order}
    made = keras.Model(images, keras.layers.Concatenate()([branches["left"], branches["right"]]))
    made.compile("adam", "mse", jit_compile=False)
    made.optimizer.build(made.trainable_variables)
    return made


def test_a_layer_that_moves_keeps_its_weights_and_moments(tmp_path):
    saved, restored = two_branches(["left", "right"]), two_branches(["right", "left"])
    saved.fit(np.ones((8, 4)), np.ones((8, 6)), verbose=0)
    restore(checkpoint_of(saved).save(str(tmp_path / "step")), restored)
    for path, variable in kept(saved).items():
        np.testing.assert_array_equal(kept(restored)[path], variable, err_msg=path)
    rows = np.ones((2, 4))
    np.testing.assert_array_equal(saved(rows), restored(rows))


def test_what_else_the_process_has_made_is_not_in_a_path():
    def made():
        return keras.Sequential([keras.Input((2,)), keras.layers.Dense(1), keras.layers.Dense(2, name="logits")])

    first, _, second = made(), keras.layers.Dense(3), made()
    assert list(variable_paths(first)) == list(variable_paths(second))
    assert list(variable_paths(first)) == ["dense/kernel", "dense/bias", "logits/kernel", "logits/bias"]


@pytest.mark.parametrize("case", CASES)
def test_every_variable_of_a_method_has_one_path(case):
    model = make_model(case)
    metrics = {id(variable) for metric in model.metrics for variable in metric.variables}
    expected = {id(variable) for variable in [*model.variables, *model.optimizer.variables]} - metrics
    assert {id(variable) for variable in kept(model).values()} == expected
    assert len(kept(model)) == len(expected)


@pytest.mark.parametrize("name", [*optimizers.NAMES, "loss scale"])
def test_what_an_optimizer_keeps_of_a_weight_is_under_the_weights_path(name):
    model = two_branches(["left", "right"])
    weights = variable_paths(model)
    optimizer = optimizers.build("adamw" if name == "loss scale" else name, learning_rate=0.1)
    if name == "loss scale":
        optimizer = optimizers.LossScale(optimizer)
    optimizer.build(model.trainable_variables)
    paths = optimizer_paths(optimizer, weights)
    assert len(paths) == len(optimizer.variables)
    assert [path for path in paths if path.startswith("other_")] == []
    assert [path for path in paths if path.endswith("left/kernel")]


def test_an_average_of_a_weight_moves_with_it(tmp_path):
    def classifier(order):
        made = Classifier(two_branches(order), 3, CrossEntropy(), ema_decay=0.9)
        made.compile("sgd", jit_compile=False)
        return made

    saved, restored = classifier(["left", "right"]), classifier(["right", "left"])
    for number, average in enumerate(saved.averages):
        average.assign(np.full(average.shape, number + 1.0))
    restore(checkpoint_of(saved).save(str(tmp_path / "step")), restored)
    expected, found = variable_paths(saved), variable_paths(restored)
    averages = [path for path in expected if path.startswith("average.")]
    assert len(averages) == len(saved.learned())
    for path in averages:
        assert expected[path].shape == expected[path.removeprefix("average.").replace(".", "/")].shape
        np.testing.assert_array_equal(found[path], expected[path], err_msg=path)


def test_a_layer_of_another_width_is_named(tmp_path):
    path = checkpoint_of(two_branches(["left", "right"])).save(str(tmp_path / "step"))
    with pytest.raises(InputError, match=r"of another shape, such as model/left/kernel, \[4, 3\] and not \[4, 5\]"):
        restore(path, two_branches(["left", "right"], width=5))


def test_a_layer_that_is_missing_is_named(tmp_path):
    def made(*layers):
        model = keras.Sequential([keras.Input((2,)), *layers])
        model.compile("sgd", "mse")
        return model

    path = checkpoint_of(made(keras.layers.Dense(2, name="first"))).save(str(tmp_path / "step"))
    with pytest.raises(
        InputError, match=r"without 2 of its variables, such as model/second/kernel; with 2 .*model/first/bias"
    ):
        restore(path, made(keras.layers.Dense(2, name="second")))
