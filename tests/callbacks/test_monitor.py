"""What is measured of an encoder while it trains, when, and what is warned of."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive import losses
from tfcontrastive.callbacks import Monitor
from tfcontrastive.encoders import Whitening
from tfcontrastive.evaluate import effective_rank, knn_scores, top_k_accuracy

RNG = np.random.default_rng(0)
MEMORY, QUERIES = RNG.random((40, 2, 2, 1), np.float32), RNG.random((25, 2, 2, 1), np.float32)
MEMORY_LABELS, LABELS = (np.arange(count, dtype=np.int32) % 7 for count in (40, 25))


def images(rows, labels):
    return lambda: tf.data.Dataset.from_tensor_slices({"image": rows, "label": labels}).batch(9)


def monitored(every_epochs=1, queries=True, scale=1.0, num_classes=7):
    probe = keras.layers.Dense(7)
    probe.build((None, 4))
    pixels = keras.Input((2, 2, 1))
    model = types.SimpleNamespace(
        encoder=keras.Model(pixels, keras.layers.Rescaling(scale, 0.3)(keras.layers.Flatten()(pixels))),
        optimizer=types.SimpleNamespace(iterations=np.int64(0)),
        probe=probe,
    )
    held_out = images(QUERIES, LABELS) if queries else None
    options = {"num_classes": num_classes, "every_epochs": every_epochs, "last_step": 10, "k": 5, "temperature": 0.5}
    monitor = Monitor(images(MEMORY, MEMORY_LABELS), held_out, **options)
    monitor.set_model(model)
    return monitor, model


def test_held_out_images_are_measured_against_training_images():
    monitor, model = monitored()
    memory, held_out = (rows.reshape(-1, 4) + 0.3 for rows in (MEMORY, QUERIES))
    scores = knn_scores(memory, MEMORY_LABELS, held_out, num_classes=7, k=5, temperature=0.5)
    expected = {
        "effective_rank": effective_rank(held_out),
        "feature_std": float(losses.embedding_std(held_out)),
        "knn_top1": top_k_accuracy(scores, LABELS, 1),
        "knn_top5": top_k_accuracy(scores, LABELS, 5),
        "probe_eval_accuracy": np.mean(np.argmax(model.probe(held_out), axis=1) == LABELS),
    }
    assert expected["knn_top1"] < expected["knn_top5"]
    assert monitor.measure() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("queries", "num_classes"), [(False, 7), (True, None)])
def test_without_held_out_images_or_labels_only_the_geometry_is_measured(queries, num_classes):
    values = monitored(queries=queries, num_classes=num_classes)[0].measure()
    assert set(values) == {"effective_rank", "feature_std"}
    rows = QUERIES if queries else MEMORY
    assert values["effective_rank"] == pytest.approx(effective_rank(rows.reshape(-1, 4) + 0.3), rel=1e-5)


@pytest.mark.parametrize(("every_epochs", "due"), [(2, [1, 3, 4]), (0, [4])])
def test_it_measures_each_so_many_epochs_and_at_the_end(every_epochs, due):
    monitor, model = monitored(every_epochs)
    found = []
    for epoch in range(5):
        model.optimizer.iterations = np.int64(2 * epoch + 2)
        logs = {}
        monitor.on_epoch_end(epoch, logs)
        found += [epoch] if "knn_top1" in logs else []
    assert found == due


def test_a_collapse_is_warned_of_and_nothing_else(caplog):
    monitored()[0].measure()
    assert not caplog.records
    monitored(scale=1e-4)[0].measure()
    assert "their effective rank is 1." in caplog.text


def test_the_knn_sees_features_whitened_by_the_memory_and_all_else_those_before():
    plain, model = monitored()
    features = model.encoder.output
    whitening = Whitening()
    model.encoder = keras.Model(model.encoder.inputs[0], whitening(features))
    monitor = Monitor(plain.memory, plain.queries, num_classes=7, every_epochs=1, last_step=10, k=5, temperature=0.5)
    monitor.set_model(model)
    found, before = monitor.measure(), plain.measure()
    assert whitening.fitted
    expected = Whitening()
    expected.build((None, 4))
    memory, held_out = (rows.reshape(-1, 4) + 0.3 for rows in (MEMORY, QUERIES))
    expected.fit(memory)
    scores = knn_scores(
        expected(memory).numpy(), MEMORY_LABELS, expected(held_out).numpy(), num_classes=7, k=5, temperature=0.5
    )
    assert found["knn_top1"] == pytest.approx(top_k_accuracy(scores, LABELS, 1))
    for name in ("effective_rank", "feature_std", "probe_eval_accuracy"):
        assert found[name] == pytest.approx(before[name], rel=1e-6)
    monitor.on_epoch_begin(0)
    assert not whitening.fitted
