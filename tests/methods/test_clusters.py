"""SwAV and DINO: the authors' values of whole steps with small views, queues, frozen and moving parts."""

import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive.config import InputError
from tfcontrastive.methods import METHODS, build

VALUES = json.loads((pathlib.Path(__file__).parents[1] / "fixtures" / "method_values.json").read_text())


def sines(function=np.sin, shift=0.0, count=12):
    return function(np.arange(count) + shift).reshape(-1, 3)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


CROPS = [sines(f, shift) for shift in (0.0, 0.5) for f in (np.sin, np.cos)]
TEACHER = [0.5 * sines(f, 1.0) for f in (np.sin, np.cos)]
QUEUES = [unit(sines(f, 1.0, 24)) for f in (np.sin, np.cos)]
PROTOTYPES = unit(np.cos(0.7 * np.arange(15)).reshape(5, 3))


def mean_encoder():
    """The mean color of an image, so that a view can be made of any features."""
    images = keras.Input((None, None, 3))
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(images))


def crops(features=CROPS):
    """Two large views and small ones, whose mean colors are these."""
    sizes = [2, 2, *[1] * (len(features) - 2)]
    return [
        tf.constant(np.broadcast_to(rows[:, None, None], (len(rows), size, size, 3)), tf.float32)
        for rows, size in zip(features, sizes, strict=True)
    ]


def make(method, **settings):
    model = build(method, mean_encoder(), **settings)
    model.compile(optimizer=keras.optimizers.SGD(0.1))
    model.projection_head = lambda features, training: features
    return model


def swav(**settings):
    options = {"num_prototypes": 5, "proj_out_dim": 3, "freeze_prototypes_steps": 0}
    model = make("swav", **{**options, **settings})
    model.prototypes.assign(PROTOTYPES)
    return model


def test_swavs_step_is_the_authors():
    model = swav()
    with tf.GradientTape() as tape:
        loss, *_ = model.views_loss(crops(), training=True)
    np.testing.assert_allclose(loss, VALUES["swav"]["loss_2+2"], rtol=1e-5)
    expected = VALUES["swav"]["grad_prototypes"]
    np.testing.assert_allclose(tape.gradient(loss, model.prototypes.value), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        model.views_loss(crops(CROPS[:2]), training=True).loss, VALUES["swav"]["loss_2"], rtol=1e-5
    )


def test_swavs_queue_is_used_once_it_is_full_and_then_takes_the_batch():
    model = swav(queue_size=8)
    for step, value in ((0, "loss_2+2"), (1, "loss_2+2"), (2, "loss_2+2_queue"), (3, "loss_2+2_queue")):
        model.optimizer.iterations.assign(step)
        model.queue.rows.assign(np.concatenate(QUEUES, axis=1))
        model.queue.position.assign(0)
        loss = model.views_loss(crops(), training=True).loss
        np.testing.assert_allclose(loss, VALUES["swav"][value], rtol=1e-5, err_msg=str(step))
    newest = np.concatenate([unit(rows) for rows in CROPS[:2]], axis=1)
    np.testing.assert_allclose(model.queue.rows[:4], newest, rtol=1e-4, atol=1e-6)
    later = swav(queue_size=8, queue_start_step=5)
    later.optimizer.iterations.assign(4)
    np.testing.assert_allclose(later.views_loss(crops(), training=True).loss, VALUES["swav"]["loss_2+2"], rtol=1e-5)


def test_swavs_prototypes_stay_for_some_steps_and_are_directions_after_each():
    model = build("swav", mean_encoder(), num_prototypes=5, proj_out_dim=3, hidden_dim=4, freeze_prototypes_steps=1)
    model.compile(optimizer=keras.optimizers.SGD(1.0))
    before = np.array(model.prototypes)
    seen = []
    for _ in range(2):
        model.train_step({"views": tuple(tf.clip_by_value(view, 0, 1) for view in crops(CROPS[:2]))})
        seen.append(np.array(model.prototypes))
        np.testing.assert_allclose(np.linalg.norm(seen[-1], axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(seen[0], before, rtol=1e-5, atol=1e-6)
    assert np.abs(seen[1] - before).max() > 1e-3


def test_swavs_queue_must_be_a_multiple_of_the_batch():
    config = METHODS["swav"].Config(queue_size=40)
    with pytest.raises(InputError, match=r"`queue_size` must be a multiple of the keys of a step, 16"):
        METHODS["swav"].check(config, batch_size=16, replicas=2, num_examples=None)


def dino(**settings):
    options = {"num_prototypes": 3, "proj_out_dim": 3, "student_temperature": 0.1}
    model = make("dino", **{**options, **settings})
    model.prototypes = lambda rows, frozen: rows
    model.target_head = lambda features, training: features
    model.target_prototypes = lambda rows: tf.constant(np.concatenate(TEACHER), tf.float32)
    return model


def test_dinos_steps_are_the_authors():
    model, expected = dino(), VALUES["dino"]
    for step in (1, 2):
        loss = model.views_loss(crops(), training=True).loss
        np.testing.assert_allclose(loss, expected[f"loss_step{step}"], rtol=1e-5)
        np.testing.assert_allclose(model.center, np.ravel(expected[f"center_after_step{step}"]), rtol=1e-4, atol=1e-8)
    center = np.array(model.center)
    assert np.isfinite(model.views_loss(crops(), training=False).loss)
    np.testing.assert_array_equal(model.center, center)  # measuring moves nothing


def test_dinos_teacher_becomes_softer_along_its_ramp():
    model = dino(teacher_temperature_start=0.04, teacher_temperature=0.07, teacher_temperature_steps=30)
    found = []
    for step in (0, 1, 15, 29, 30, 99):
        model.optimizer.iterations.assign(step)
        found.append(float(model.teacher_temperature()))
    np.testing.assert_allclose(found, VALUES["dino"]["teacher_temperature"], rtol=1e-6)
    np.testing.assert_allclose(dino(teacher_temperature=0.07).teacher_temperature(), 0.07)


def test_dinos_last_layer_stays_for_some_steps_and_its_teacher_follows():
    model = build("dino", mean_encoder(), num_prototypes=5, proj_out_dim=3, hidden_dim=4, freeze_prototypes_steps=1,
                  target_momentum=0.5, target_momentum_ramp=False)  # fmt: skip
    model.compile(optimizer=keras.optimizers.SGD(10.0))
    first = np.array(model.prototypes.kernel)
    views = tuple(tf.clip_by_value(view, 0, 1) for view in crops(CROPS[:2]))
    model.train_step({"views": views})
    np.testing.assert_array_equal(model.prototypes.kernel, first)
    head, target = np.array(model.projection_head.parts[0].kernel), np.array(model.target_head.parts[0].kernel)
    assert not np.array_equal(head, target)
    model.train_step({"views": views})
    assert not np.array_equal(model.prototypes.kernel, first)
    followed = 0.5 * target + 0.5 * np.array(model.projection_head.parts[0].kernel)
    np.testing.assert_allclose(model.target_head.parts[0].kernel, followed, rtol=1e-5, atol=1e-7)


def test_koleo_needs_a_neighbour():
    assert build("dino", mean_encoder(), num_prototypes=3).least_images == 1
    assert build("dino", mean_encoder(), num_prototypes=3, koleo_weight=0.1).least_images == 2
