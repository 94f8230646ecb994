"""The same vectors from LiteRT and ONNX Runtime."""

import os
import re

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from tfcontrastive.config import InputError
from tfcontrastive.encoders import ViT, Whitening
from tfcontrastive.export import save_model, to_onnx, to_tflite


@pytest.mark.parametrize(
    ("quantize", "difference", "cosine"),
    [
        ("none", 1e-4, 0.99999),
        ("float16", 1e-2, 0.999),
        ("dynamic", 2e-1, 0.98),
        ("int8", 2e-1, 0.98),
        ("int8_mixed", 2e-1, 0.98),
    ],
)
def test_tflite(exported, images, tmp_path, quantize, difference, cosine):
    report = to_tflite(exported, tmp_path / "encoder.tflite", image_size=16, quantize=quantize, images=images)
    assert report.max_difference < difference
    assert report.cosine_similarity > cosine
    assert report.bytes == (tmp_path / "encoder.tflite").stat().st_size
    interpreter = Interpreter(str(tmp_path / "encoder.tflite"))
    assert (np.int8 in {tensor["dtype"] for tensor in interpreter.get_tensor_details()}) == quantize.startswith("int8")
    ends = [*interpreter.get_input_details(), *interpreter.get_output_details()]
    assert {detail["dtype"] for detail in ends} == {np.float32}


def test_onnx(encoder, exported, tmp_path):
    report = to_onnx(exported, tmp_path / "encoder.onnx", image_size=16)
    assert report.max_difference < 1e-4
    session = onnxruntime.InferenceSession(tmp_path / "encoder.onnx", providers=["CPUExecutionProvider"])
    images = np.random.RandomState(1).rand(5, 16, 16, 3).astype("float32")
    (unit,) = session.run(["embedding_l2"], {"images": images})
    np.testing.assert_allclose(unit, tf.math.l2_normalize(encoder(images), axis=1), atol=1e-4)


def test_onnx_has_the_exact_gelu(tmp_path):
    images = keras.Input((8, 8, 3))
    features = keras.layers.Dense(4)(keras.activations.gelu(keras.layers.Flatten()(6.0 * images - 3.0)))
    path = save_model(keras.Model(images, features), tmp_path)
    assert to_onnx(path, tmp_path / "encoder.onnx", image_size=8).max_difference < 1e-4


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_is_converted_in_float32(make_encoder, images, tmp_path, policy):
    encoder = make_encoder((16, 16, 3), dtype=policy)
    path = save_model(encoder, tmp_path)
    reports = [
        to_tflite(path, tmp_path / "encoder.tflite", image_size=16, images=images),
        to_onnx(path, tmp_path / "encoder.onnx", image_size=16, images=images),
    ]
    assert min(report.cosine_similarity for report in reports) > 0.999
    session = onnxruntime.InferenceSession(tmp_path / "encoder.onnx", providers=["CPUExecutionProvider"])
    exact = make_encoder((16, 16, 3))
    exact.set_weights(encoder.get_weights())
    (received,) = session.run(["embedding"], {"images": images})
    np.testing.assert_allclose(received, exact(images), rtol=1e-3, atol=1e-4)
    assert keras.config.dtype_policy().name == "float32"


def scaled(encoder, factor):
    return keras.Model(encoder.inputs, encoder.outputs[0] * factor)


ZEROS_REFUSED = tf.__version__ >= "2.22"  # its converter fails at a network of zeros


def converted_or_refused(*arguments, **options):
    """The report of `to_tflite`, or what it refuses with."""
    try:
        return to_tflite(*arguments, **options)
    except InputError as error:
        return str(error)


@pytest.mark.parametrize("factor", [1e-11, 0.0])
@pytest.mark.parametrize("quantize", ["none", "int8"])
def test_vectors_near_zero_convert_or_leave_no_file(encoder, images, tmp_path, quantize, factor):
    path = save_model(scaled(encoder, factor), tmp_path / "exported", image_size=16)
    (tmp_path / "files").mkdir()
    done = converted_or_refused(path, tmp_path / "files" / "x", image_size=16, quantize=quantize, images=images)
    if isinstance(done, str):
        assert quantize == "int8" or (factor == 0.0 and ZEROS_REFUSED)
        advice = "Take quantize=dynamic" if quantize == "int8" else ""
        assert re.fullmatch(rf".*Received: .*{advice}.*", done), "one line, with advice"
        assert os.listdir(tmp_path / "files") == []
    else:
        assert done.cosine_similarity > 0.98
        assert os.listdir(tmp_path / "files") == ["x"]


def test_a_network_that_a_runtime_cannot_take_leaves_no_file(exported, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("INVALID_GRAPH: no such operation\nmore lines")

    monkeypatch.setattr(onnxruntime, "InferenceSession", fail)
    with pytest.raises(InputError, match=r"ONNX Runtime can run. Received: INVALID_GRAPH: no such operation\.$"):
        to_onnx(exported, tmp_path / "encoder.onnx", image_size=16)
    monkeypatch.setattr("tfcontrastive.export.convert._interpreter", fail)
    with pytest.raises(InputError, match=r"LiteRT can run. Received: INVALID_GRAPH: no such operation\.$"):
        to_tflite(exported, tmp_path / "encoder.tflite", image_size=16)
    assert os.listdir(tmp_path) == []


def grouped_encoder():
    """Grouped convolutions, depthwise ones too, as Keras' ConvNeXt has them: it compiles them by XLA."""
    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(8, 4, strides=2)(images)
    x = keras.layers.Conv2D(8, 7, padding="same", groups=8)(x)
    x = keras.layers.LayerNormalization(epsilon=1e-6)(x)
    x = keras.layers.Activation("gelu")(keras.layers.Conv2D(8, 3, padding="same", groups=2)(x))
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(x))


def test_grouped_convolutions_run_in_onnx_runtime(tmp_path):
    path = save_model(grouped_encoder(), tmp_path)
    assert to_onnx(path, tmp_path / "encoder.onnx", image_size=8).max_difference < 1e-4


def test_a_place_that_cannot_be_written_is_refused_before_the_work(exported, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"`path` must be a directory that can be written to"):
        to_tflite(exported, tmp_path / "file" / "encoder.tflite", image_size=16)


def test_int8_that_loses_the_vectors_is_refused_with_advice(exported, images, tmp_path, monkeypatch):
    monkeypatch.setattr("tfcontrastive.export.convert._LEAST_COSINE", 1.1)
    with pytest.raises(InputError, match=r"cosine similarity of 1.1 at least. Received: .*Take quantize=dynamic"):
        to_tflite(exported, tmp_path / "encoder.tflite", image_size=16, quantize="int8", images=images)
    assert os.listdir(tmp_path) == []


def test_a_transformer_in_int8_keeps_its_vectors_or_is_refused(tmp_path):
    keras.utils.set_random_seed(0)
    encoder = ViT(width=32, depth=3, num_heads=2, patch_size=4, input_shape=(16, 16, 3))
    path = save_model(encoder, tmp_path / "exported")
    images = np.random.RandomState(0).rand(16, 16, 16, 3).astype("float32")
    done = converted_or_refused(path, tmp_path / "vit.tflite", image_size=16, quantize="int8", images=images)
    if isinstance(done, str):
        assert "Take quantize=dynamic" in done
        assert not (tmp_path / "vit.tflite").exists()
    else:
        assert done.cosine_similarity >= 0.98


def with_an_outlier():
    """A transformer one of whose channels is large in every token between two blocks, as those of trained ones are."""
    keras.utils.set_random_seed(0)
    encoder = ViT(width=32, depth=2, num_heads=2, patch_size=8, input_shape=(16, 16, 3))
    for block, value in ((1, 60.0), (2, -60.0)):
        encoder.get_layer(f"block{block}_fc2").bias.assign(value * np.eye(32, dtype=np.float32)[3])
    return encoder


def test_a_transformer_with_an_outlier_needs_its_norms_in_float(tmp_path):
    path = save_model(with_an_outlier(), tmp_path / "exported")
    images = np.random.RandomState(0).rand(16, 16, 16, 3).astype("float32")
    with pytest.raises(InputError, match=r"0\.98 at least.*or int8_mixed, which normalises"):
        to_tflite(path, tmp_path / "int8.tflite", image_size=16, quantize="int8", images=images)
    done = to_tflite(path, tmp_path / "mixed.tflite", image_size=16, quantize="int8_mixed", images=images)
    assert done.cosine_similarity > 0.99
    details = Interpreter(str(tmp_path / "mixed.tflite")).get_tensor_details()
    kernels = [one for one in details if one["dtype"] == np.int8 and len(one["shape"]) == 2 and 32 in one["shape"]]
    assert len(kernels) >= 2 * 4  # the dense layers of each block


def test_a_whitening_keeps_the_directions_of_little_variance_in_eight_bits(tmp_path):
    random = np.random.RandomState(0)
    inputs = keras.Input((16, 16, 3))
    whitening = Whitening()
    encoder = keras.Model(inputs, whitening(keras.layers.Flatten()(inputs)))
    blocks = random.rand(1000, 4, 4, 3).repeat(4, axis=1).repeat(4, axis=2)  # what pixels have in common
    images = (0.9 * blocks + 0.1 * random.rand(1000, 16, 16, 3)).astype("float32")
    whitening.fit(images.reshape(1000, -1))
    path = save_model(encoder, tmp_path / "exported")
    for quantize in ("dynamic", "int8", "int8_mixed"):  # 0.99 where its kernel is rounded once
        done = to_tflite(path, tmp_path / "file.tflite", image_size=16, quantize=quantize, images=images[:64])
        assert done.cosine_similarity > 0.997, quantize


@pytest.mark.parametrize("quantize", ["int8", "int8_mixed"])
def test_a_vector_of_zeros_converts_to_eight_bits(tmp_path, quantize):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    dense = keras.layers.Dense(4, activation="relu", bias_initializer=keras.initializers.Constant(-0.5))
    path = save_model(keras.Model(inputs, dense(keras.layers.Flatten()(inputs))), tmp_path / "exported")
    images = np.random.RandomState(0).rand(24, 8, 8, 1).astype("float32")
    images[:8] = 0  # nothing passes the ReLU
    report = to_tflite(path, tmp_path / "file.tflite", image_size=8, quantize=quantize, images=images)
    found = Interpreter(report.path).get_signature_runner()(images=images)
    assert report.cosine_similarity > 0.99
    np.testing.assert_array_equal(found["embedding_l2"][:8], 0)
    features = found["embedding"][8:]
    long = np.linalg.norm(features, axis=1) > 0.3
    assert long.any()
    expected = features[long] / np.linalg.norm(features[long], axis=1, keepdims=True)
    np.testing.assert_allclose(found["embedding_l2"][8:][long], expected, atol=0.03)


def test_bad_arguments(exported, tmp_path):
    with pytest.raises(InputError, match="`quantize` must be one of"):
        to_tflite(exported, tmp_path / "x", image_size=16, quantize="int4")
    with pytest.raises(InputError, match="`images` must be given"):
        to_tflite(exported, tmp_path / "x", image_size=16, quantize="int8")
    with pytest.raises(InputError, match=r"`images` must be \(None, 16, 16, 3\)"):
        to_tflite(exported, tmp_path / "x", image_size=16, images=np.zeros([2, 8, 8, 3]))
