"""The same vectors from LiteRT and ONNX Runtime."""

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from tfcontrastive.config import InputError
from tfcontrastive.export import save_model, to_onnx, to_tflite


@pytest.mark.parametrize(("quantize", "difference", "cosine"), [
    ("none", 1e-4, 0.99999), ("float16", 1e-2, 0.999), ("dynamic", 2e-1, 0.98), ("int8", 2e-1, 0.98),
])
def test_tflite(exported, images, tmp_path, quantize, difference, cosine):
    report = to_tflite(exported, tmp_path / "encoder.tflite", image_size=16, quantize=quantize, images=images)
    assert report.max_difference < difference
    assert report.cosine_similarity > cosine
    assert report.bytes == (tmp_path / "encoder.tflite").stat().st_size
    interpreter = Interpreter(str(tmp_path / "encoder.tflite"))
    assert (np.int8 in {tensor["dtype"] for tensor in interpreter.get_tensor_details()}) == (quantize == "int8")
    ends = [*interpreter.get_input_details(), *interpreter.get_output_details()]
    assert {detail["dtype"] for detail in ends} == {np.float32}


def test_onnx(encoder, exported, tmp_path):
    report = to_onnx(exported, tmp_path / "encoder.onnx", image_size=16)
    assert report.max_difference < 1e-4
    session = onnxruntime.InferenceSession(tmp_path / "encoder.onnx", providers=["CPUExecutionProvider"])
    images = np.random.RandomState(1).rand(5, 16, 16, 3).astype("float32")
    unit, = session.run(["embedding_l2"], {"images": images})
    np.testing.assert_allclose(unit, tf.math.l2_normalize(encoder(images), axis=1), atol=1e-4)


def test_onnx_has_the_exact_gelu(tmp_path):
    images = keras.Input((8, 8, 3))
    features = keras.layers.Dense(4)(keras.activations.gelu(keras.layers.Flatten()(6.0 * images - 3.0)))
    path = save_model(keras.Model(images, features), tmp_path)
    assert to_onnx(path, tmp_path / "encoder.onnx", image_size=8).max_difference < 1e-4


def test_bad_arguments(exported, tmp_path):
    with pytest.raises(InputError, match="`quantize` must be one of"):
        to_tflite(exported, tmp_path / "x", image_size=16, quantize="int4")
    with pytest.raises(InputError, match="`images` must be given"):
        to_tflite(exported, tmp_path / "x", image_size=16, quantize="int8")
    with pytest.raises(InputError, match=r"`images` must be \(None, 16, 16, 3\)"):
        to_tflite(exported, tmp_path / "x", image_size=16, images=np.zeros([2, 8, 8, 3]))
