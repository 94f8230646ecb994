"""What `save_model` writes, as TensorFlow's own loader sees it."""

import json
import os

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive.config import InputError
from tfcontrastive.export import save_model
from tfcontrastive.methods.simclr import SimCLR, SimCLRConfig

PYTHON_OPS = {"PyFunc", "PyFuncStateless", "EagerPyFunc", "NumpyFunction"}


def graph_ops(path):
    meta = tf.compat.v1.saved_model.loader.load
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        definition = meta(session, ["serve"], path).graph_def
    nodes = [*definition.node, *(node for function in definition.library.function for node in function.node_def)]
    return {node.op for node in nodes}


def test_call_equals_the_encoder(encoder, exported, images):
    np.testing.assert_allclose(tf.saved_model.load(exported)(images), encoder(images), atol=1e-6)


def test_call_takes_any_batch_and_size(encoder, exported):
    images = np.random.RandomState(0).rand(2, 24, 20, 3).astype("float32")
    np.testing.assert_allclose(tf.saved_model.load(exported)(images), encoder(images), atol=1e-6)


def test_training_call_updates_the_moving_statistics(exported, images):
    loaded = tf.saved_model.load(exported)
    before = [variable.numpy() for variable in loaded.variables]
    loaded(images, training=True)
    assert sum((a != b.numpy()).any() for a, b in zip(before, loaded.variables, strict=True)) == 2


def test_variables_are_the_encoders(encoder, exported):
    loaded = tf.saved_model.load(exported)
    assert len(loaded.variables) == len(encoder.variables)
    assert len(loaded.trainable_variables) == len(encoder.trainable_variables)
    np.testing.assert_allclose(sum(loss() for loss in loaded.regularization_losses), sum(encoder.losses), rtol=1e-6)


def test_signatures(exported):
    loaded = tf.saved_model.load(exported)
    assert set(loaded.signatures) == {"serving_default", "image_bytes", "features", "serve_training"}
    for signature in loaded.signatures.values():
        assert {spec.dtype for spec in signature.structured_outputs.values()} == {tf.float32}
        assert {"embedding", "embedding_l2"} <= set(signature.structured_outputs)


def test_embedding_l2_has_unit_length_and_a_zero_vector_stays_zero(exported, images):
    serve = tf.saved_model.load(exported)
    *_, kernel, bias = serve.variables
    bias.assign(tf.zeros_like(bias))
    for scale, length in ((0.0, 0.0), (1e-6, 1.0)):
        kernel.assign(tf.fill(kernel.shape, scale))
        vectors = serve.signatures["serving_default"](images=tf.constant(images))["embedding_l2"]
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), length, rtol=1e-4)


def test_features_of_a_contrastive_model(make_encoder, images, tmp_path):
    model = SimCLR(make_encoder(), SimCLRConfig(proj_out_dim=5), num_classes=4)
    path = save_model(model, tmp_path)
    loaded = tf.saved_model.load(path)
    outputs = loaded.signatures["features"](images=tf.constant(images))
    features = model.encoder(images)
    np.testing.assert_allclose(outputs["final_avg_pool"], features, atol=1e-6)
    np.testing.assert_allclose(outputs["proj_head_input"], features, atol=1e-6)
    np.testing.assert_allclose(outputs["proj_head_output"], model.projection_head(features), atol=1e-6)
    np.testing.assert_allclose(outputs["logits_sup"], model.probe(features), atol=1e-6)
    assert outputs["initial_conv"].shape == (3, 16, 16, 4)
    assert outputs["block_group1"].shape == (3, 8, 8, 6)
    assert len(loaded.variables) == len(model.encoder.variables), "fine-tuning must not see the head"
    with open(os.path.join(path, "model_card.json"), encoding="utf-8") as file:
        card = json.load(file)
    assert card["method"] == "SimCLR"
    assert card["config"]["proj_out_dim"] == 5


def test_a_probe_can_be_given(encoder, images, tmp_path):
    probe = keras.layers.Dense(3)
    probe.build((None, 6))
    outputs = tf.saved_model.load(save_model(encoder, tmp_path, probe=probe)).signatures["features"](
        images=tf.constant(images))
    np.testing.assert_allclose(outputs["logits_sup"], probe(encoder(images)), atol=1e-6)


def test_training_signature_uses_batch_statistics(encoder, exported, images):
    loaded = tf.saved_model.load(exported)
    trained = loaded.signatures["serve_training"](images=tf.constant(images))["embedding"]
    plain = loaded.signatures["serving_default"](images=tf.constant(images))["embedding"]
    assert np.abs(trained - plain).max() > 1e-3


def test_no_python_op_in_the_graph(exported):
    assert not PYTHON_OPS & graph_ops(exported)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_gives_float32(make_encoder, images, tmp_path, policy):
    encoder = make_encoder(dtype=policy)
    loaded = tf.saved_model.load(save_model(encoder, tmp_path))
    for signature in ("serving_default", "features"):
        assert {v.dtype for v in loaded.signatures[signature](images=tf.constant(images)).values()} == {tf.float32}
    np.testing.assert_allclose(loaded(images), tf.cast(encoder(images), tf.float32), atol=2e-2)


def test_made_under_replicas(two_replicas, make_encoder, images, tmp_path):
    with two_replicas.scope():
        encoder = make_encoder()
    path = save_model(encoder, tmp_path)
    np.testing.assert_allclose(tf.saved_model.load(path)(images), encoder(images), atol=1e-6)
    assert not [op for op in graph_ops(path) if op.startswith(("Collective", "Nccl"))]


def test_inside_the_scope_is_as_outside(two_replicas, images, tmp_path):
    with two_replicas.scope():
        norm = keras.layers.BatchNormalization(synchronized=True)  # a collective of its own
        inputs = keras.Input((None, None, 3))
        outputs = keras.layers.GlobalAveragePooling2D()(norm(keras.layers.Conv2D(4, 3)(inputs)))
        encoder = keras.Model(inputs, outputs)
        path = save_model(encoder, tmp_path)
    np.testing.assert_allclose(tf.saved_model.load(path)(images), encoder(images), atol=1e-6)


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_other_channel_counts(make_encoder, tmp_path, channels):
    encoder = make_encoder((None, None, channels))
    images = np.random.RandomState(0).rand(2, 16, 16, channels).astype("float32")
    loaded = tf.saved_model.load(save_model(encoder, tmp_path))
    np.testing.assert_allclose(loaded(images), encoder(images), atol=1e-6)
    assert ("image_bytes" in loaded.signatures) == (channels == 1)


def test_a_subclassed_encoder(make_encoder, images, tmp_path):
    class Wrapper(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = make_encoder()

        def call(self, images, training=False):
            return 2 * self.inner(images, training=training)

    encoder = Wrapper()
    encoder(images)
    loaded = tf.saved_model.load(save_model(encoder, tmp_path))
    np.testing.assert_allclose(loaded(images[:2, :8]), encoder(images[:2, :8]), atol=1e-6)


def test_versions_count_up_and_are_never_overwritten(encoder, tmp_path):
    assert save_model(encoder, tmp_path) == str(tmp_path / "1")
    assert save_model(encoder, tmp_path, version=7) == str(tmp_path / "7")
    assert save_model(encoder, tmp_path) == str(tmp_path / "8")
    with pytest.raises(InputError, match="version=7, but"):
        save_model(encoder, tmp_path, version=7)
    assert sorted(os.listdir(tmp_path)) == ["1", "7", "8"]


def test_a_failed_save_leaves_nothing(encoder, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("disk full")

    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises(RuntimeError, match="disk full"):
        save_model(encoder, tmp_path)
    assert os.listdir(tmp_path) == []


def test_the_card_says_what_the_model_takes_and_gives(encoder, tmp_path):
    more = {"recipe": "simclr_cifar10", "metrics": {"knn_top1": 0.512345678}, "data": {"dataset": "folder:my photos"}}
    path = save_model(encoder, tmp_path, image_size=64, card=more)
    with open(os.path.join(path, "model_card.json"), encoding="utf-8") as file:
        card = json.load(file)
    assert card["embedding_dim"] == 6
    assert card["recipe"] == "simclr_cifar10"
    assert card["preprocessing"]["image_size"] == 64
    assert card["preprocessing"]["crop"].startswith("center")
    assert card["signatures"]["image_bytes"]["inputs"] == {"image_bytes": {"dtype": "string", "shape": [None]}}
    with open(os.path.join(path, "README.md"), encoding="utf-8") as file:
        _, front, text = file.read().split("---\n", 2)
    assert "| knn_top1 | 0.5123 |" in text
    assert "center, 0.875" in text
    assert front.splitlines()[-11:] == [
        "model-index:", '- name: "small_encoder"', "  results:", "  - task:", "      type: image-feature-extraction",
        "    dataset:", '      name: "folder:my photos"', '      type: "folder:my photos"',
        "    metrics:", "    - type: knn_top1", "      value: 0.5123"]


@pytest.mark.parametrize(("arguments", "message"), [
    ({"version": -1}, "version"), ({"version": "1"}, "version"),
    ({"image_size": 0}, "image_size"), ({"image_size": 2.5}, "image_size"),
])
def test_bad_arguments(encoder, tmp_path, arguments, message):
    with pytest.raises(InputError, match=f"`{message}` must be.*Received"):
        save_model(encoder, tmp_path, **arguments)


def test_bad_models(make_encoder, tmp_path):
    with pytest.raises(InputError, match=r"must be a keras.Model"):
        save_model("resnet50", tmp_path)
    with pytest.raises(InputError, match="must be built"):
        save_model(keras.Sequential([keras.layers.Flatten()]), tmp_path)
    images = keras.Input((16, 16, 3))
    with pytest.raises(InputError, match=r"to vectors \[B, F\]"):
        save_model(keras.Model(images, keras.layers.Conv2D(2, 3)(images)), tmp_path)
    with pytest.raises(InputError, match=r"what the encoder takes, 16 x 16. Received: image_size=32"):
        save_model(make_encoder((16, 16, 3)), tmp_path, image_size=32)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="`base` must be a directory"):
        save_model(make_encoder(), tmp_path / "file")
