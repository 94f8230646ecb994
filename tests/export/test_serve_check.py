"""The check of an export passes on a good one and finds what is wrong with a bad one."""

import os
import re
import shutil

import pytest
import tensorflow as tf

from tfcontrastive.config import InputError
from tfcontrastive.export import check_export, save_model, serve_check
from tfcontrastive.export.serve_check import Check


def test_a_good_export_passes(exported):
    checks = {check.name: check for check in check_export(os.path.dirname(exported))}
    assert [check for check in checks.values() if check.passed is False] == []
    assert checks["C++ session"].passed
    assert "image_bytes" in checks["C++ session"].detail
    assert checks["no Python in the graph"].passed
    assert checks["no side effects"].passed
    assert "too unstable" not in checks["C++ session"].detail
    assert "changed 8 of 8 variables" in checks["hub.KerasLayer, trainable"].detail
    assert "saved and loaded again" in checks["hub.KerasLayer, trainable"].detail
    assert "changed 0 of 8" in checks["hub.KerasLayer, frozen"].detail
    assert checks["warm-up requests"].detail.startswith("2 requests")
    assert checks["EmbeddingClient"] == Check("EmbeddingClient", None, "no server was named")


def test_a_model_that_calls_python_is_found(tmp_path):
    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 3], name="images")])
        def serve(self, images):
            mean = tf.numpy_function(lambda x: x.mean(axis=(1, 2)), [images], tf.float32)
            return {"embedding": tf.ensure_shape(mean, [None, 3])}

    module = Module()
    tf.saved_model.save(module, str(tmp_path / "model"), signatures={"serving_default": module.serve})
    checks = {check.name: check for check in check_export(tmp_path / "model")}
    assert "the graph calls Python" in checks["no Python in the graph"].detail
    assert not checks["C++ session"].passed
    assert "missing: features, serve_training" in checks["signatures"].detail
    assert "looks for a number" in checks["version directory"].detail


def only(monkeypatch, *names):
    chosen = {name: serve_check._CHECKS[name] for name in names}
    monkeypatch.setattr(serve_check, "_CHECKS", chosen)


def test_a_signature_with_a_side_effect_is_found(make_encoder, tmp_path, monkeypatch):
    encoder, module = make_encoder(), tf.Module()
    module.encoder, module.values = encoder, [variable.value for variable in encoder.variables]

    @tf.function(input_signature=[tf.TensorSpec([None, 16, 16, 3], name="images")])
    def serve(images):
        return {"embedding": encoder(images, training=True)}

    tf.saved_model.save(module, str(tmp_path / "1"), signatures={"serving_default": serve})
    only(monkeypatch, "no side effects")
    (check,) = check_export(tmp_path)
    assert not check.passed
    assert "serving_default (AssignVariableOp)" in check.detail


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_the_tolerance_is_that_of_the_precision(make_encoder, tmp_path, monkeypatch, policy):
    save_model(make_encoder(dtype=policy), tmp_path, image_size=16, optimize=True)
    only(monkeypatch, "hub.load", "C++ session")
    for check in check_export(tmp_path):
        assert check.passed, check
        assert {"mixed_bfloat16": "within 0.05", "mixed_float16": "within 0.01"}[policy] in check.detail


def test_unstable_training_is_named_and_not_compared(exported, monkeypatch):
    monkeypatch.setattr(serve_check, "_NUDGE", 0.1)  # what a network does whose layers multiply rounding errors
    only(monkeypatch, "keras.layers.TFSMLayer", "C++ session")
    for check in check_export(exported):
        assert check.passed, check
        assert re.search(
            r"serve_training is too unstable.*2 images of 32 x 32 pixels, noise of 0.1 moves", check.detail
        )


def test_damage_fails_every_loader(exported, tmp_path):
    shutil.copytree(exported, tmp_path / "1")
    data = tmp_path / "1" / "variables" / "variables.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:100])
    checks = {check.name: check for check in check_export(tmp_path)}
    for name in ("signatures", "C++ session", "keras.layers.TFSMLayer"):
        assert checks[name].passed is False, name


def test_no_model(tmp_path):
    with pytest.raises(InputError, match="must be a SavedModel"):
        check_export(tmp_path)
