"""Batch normalisation folded into convolutions: the same numbers, only where it is sound."""

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive.config import InputError
from tfcontrastive.encoders import ResNet
from tfcontrastive.export import CppSession, fold_batch_norm, read_card, save_model, served_encoder
from tfcontrastive.export.served_encoder import ServedEncoder

layers = keras.layers


def unsettle(model):
    """Gives every normalisation statistics and scales that are not the initial ones."""
    random = np.random.RandomState(0)
    for layer in model._flatten_layers():
        if isinstance(layer, layers.BatchNormalization):
            for weight in layer.weights:
                value = random.uniform(0.5, 1.5, weight.shape)
                weight.assign(value if "mean" not in weight.path and "beta" not in weight.path else value - 1)
    return model


def norms(model):
    return [layer.name for layer in model._flatten_layers() if isinstance(layer, layers.BatchNormalization)]


def check(model, size=16, left=0):
    """The folded copy, and what is served, give the same vectors; `left` normalisations are left; the model is as it was."""
    images = np.random.RandomState(1).rand(3, size, size, model.input_shape[-1]).astype("float32")
    expected = model(images).numpy()
    folded = fold_batch_norm(model)
    np.testing.assert_allclose(folded(images), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    served, inference = ServedEncoder(model)(images), model(images, training=False).numpy()
    np.testing.assert_allclose(served, inference, rtol=1e-4, atol=1e-5 * np.abs(inference).max())
    np.testing.assert_array_equal(model(images), expected)
    assert len(norms(folded)) == left
    assert [tuple(tensor.shape) for tensor in folded.outputs] == [tuple(tensor.shape) for tensor in model.outputs]


@pytest.mark.parametrize(
    ("depth", "options", "left"),
    [
        (18, {"stem": "small"}, 0),
        (50, {"sk_ratio": 0.0625, "se_ratio": 0.25}, 0),
        (18, {"norm": "group"}, 0),
    ],
)
def test_our_networks(depth, options, left):
    check(unsettle(ResNet(depth, 0.125, input_shape=(None, None, 3), **options)), left=left, size=32)


def test_a_depthwise_network_inside_another():
    inner = keras.applications.MobileNetV2(
        include_top=False, weights=None, pooling="avg", input_shape=(32, 32, 3), alpha=0.35
    )
    images = keras.Input((32, 32, 3))
    check(unsettle(keras.Model(images, inner(layers.Rescaling(2.0)(images)))), size=32)


def test_a_sequential_encoder_with_biases():
    model = keras.Sequential(
        [
            keras.Input((16, 16, 2)),
            layers.Conv2D(4, 3),
            layers.BatchNormalization(scale=False),
            layers.ReLU(),
            layers.DepthwiseConv2D(3, depth_multiplier=2),
            layers.BatchNormalization(center=False),
            layers.SeparableConv2D(5, 3, use_bias=False),
            layers.BatchNormalization(),
            layers.GlobalAveragePooling2D(),
        ]
    )
    check(unsettle(model))


def unsound(kind):
    """Encoders in which the one normalisation (two where a layer is shared) must stay."""
    images = keras.Input((16, 16, 3))
    conv, norm = layers.Conv2D(4, 3, padding="same"), layers.BatchNormalization()
    if kind == "another layer sees the convolution":
        x = conv(images)
        x = norm(x) + x
    elif kind == "the convolution is an output":
        x = conv(images)
        return keras.Model(images, [layers.GlobalAveragePooling2D()(norm(x)), x])
    elif kind == "an activation between":
        x = norm(layers.Conv2D(4, 3, activation="relu")(images))
    elif kind == "the convolution is shared":
        x = norm(conv(images)) + layers.MaxPooling2D(1)(conv(1.0 - images))
    elif kind == "the normalisation is shared":
        x = norm(conv(images)) + norm(layers.Conv2D(4, 1)(images))
    elif kind == "batch statistics always":
        x = norm(conv(images), training=True)
    elif kind == "another axis":
        x = layers.BatchNormalization(axis=1)(conv(images))
    return keras.Model(images, layers.GlobalAveragePooling2D()(x))


@pytest.mark.parametrize(
    "kind",
    [
        "another layer sees the convolution",
        "an activation between",
        "the convolution is shared",
        "the normalisation is shared",
        "batch statistics always",
        "another axis",
    ],
)
def test_what_cannot_be_folded_stays(kind):
    check(unsettle(unsound(kind)), left=1)


def test_an_output_of_the_convolution_itself_keeps_it():
    model = unsettle(unsound("the convolution is an output"))
    images = np.random.RandomState(1).rand(2, 16, 16, 3).astype("float32")
    folded = fold_batch_norm(model)
    for received, expected in zip(folded(images), model(images), strict=True):
        np.testing.assert_allclose(received, expected, atol=1e-5)


def test_a_subclassed_encoder_is_refused():
    class Wrapper(keras.Model):
        def call(self, images):
            return tf.reduce_mean(images, [1, 2])

    encoder = Wrapper()
    encoder(tf.zeros([1, 8, 8, 3]))
    with pytest.raises(InputError, match=r"`optimize` must be left out.*Received: Wrapper"):
        fold_batch_norm(encoder)


def test_only_what_folds_is_served_as_constants(make_encoder, images, tmp_path):
    """Without a normalisation to fold, constants would double the file for nothing; asked for or not."""
    inputs = keras.Input((16, 16, 3))
    plain = keras.Model(inputs, layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(inputs)))
    path = save_model(plain, tmp_path, image_size=16, optimize=True)
    assert not read_card(path)["optimized"]
    assert "constants" not in pathlib.Path(path, "README.md").read_text()
    (kernel, _), loaded = plain.variables, tf.saved_model.load(path)
    loaded.variables[0].assign(tf.zeros_like(kernel))
    assert not loaded.signatures["serving_default"](images=tf.constant(images))["embedding"].numpy().any()


def test_weights_that_no_graph_can_hold_are_variables(make_encoder, images, tmp_path, monkeypatch):
    monkeypatch.setattr(served_encoder, "MOST_CONSTANT_BYTES", 100)
    encoder = make_encoder()
    path = save_model(encoder, tmp_path, image_size=16)
    expected, scale = encoder(images).numpy(), np.abs(encoder(images)).max()
    loaded = tf.saved_model.load(path)
    found = loaded.signatures["serving_default"](images=tf.constant(images))["embedding"]
    np.testing.assert_allclose(found, expected, atol=1e-5 * scale)
    assert len(loaded.other_variables) == 4, "kernel and bias of both convolutions, none of the normalisation"
    with CppSession(path) as session:
        np.testing.assert_allclose(session.run(images=images)["embedding"], expected, atol=1e-5 * scale)


def test_an_export_is_optimized_where_nothing_else_is_asked_for(encoder, images, tmp_path):
    loaded = tf.saved_model.load(save_model(encoder, tmp_path, image_size=16))
    expected = encoder(images).numpy()
    tolerance = 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(
        loaded.signatures["serving_default"](images=images)["embedding"], expected, atol=tolerance
    )
    png = tf.stack([tf.io.encode_png(tf.image.convert_image_dtype(image, tf.uint8)) for image in images])
    decoded = tf.stack([tf.image.convert_image_dtype(tf.io.decode_png(image), tf.float32) for image in png])
    np.testing.assert_allclose(
        loaded.signatures["image_bytes"](image_bytes=png)["embedding"], encoder(decoded), atol=tolerance
    )
    ops = {name: [node.op for node in _nodes(loaded.signatures[name])] for name in loaded.signatures}
    # One root is that of embedding_l2, the other the normalisation's.
    assert {name: found.count("Rsqrt") for name, found in ops.items()} == {
        "serving_default": 1,
        "image_bytes": 1,
        "features": 2,
        "serve_training": 2,
    }
    assert len(loaded.variables) == len(encoder.variables)
    np.testing.assert_allclose(loaded(images), expected, atol=1e-6 * np.abs(expected).max())
    with CppSession(tmp_path / "1") as session:  # which tells variables apart by their names
        np.testing.assert_allclose(session.run("serving_default", images=images)["embedding"], expected, atol=tolerance)
        np.testing.assert_allclose(session.run("features", images=images)["embedding"], expected, atol=tolerance)


def _nodes(signature):
    definition = signature.graph.as_graph_def()
    reached = {node.attr["f"].func.name for node in definition.node if "f" in node.attr}
    functions = {function.signature.name: function for function in definition.library.function}
    while True:
        more = {
            node.attr["f"].func.name
            for name in reached
            if name in functions
            for node in functions[name].node_def
            if "f" in node.attr
        } - reached
        if not more:
            break
        reached |= more
    return [*definition.node, *(node for name in reached if name in functions for node in functions[name].node_def)]
