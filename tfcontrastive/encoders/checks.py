"""What a network must be to serve as an encoder, asked when it is handed over."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras

from tfcontrastive.config import InputError
from tfcontrastive.data.checks import channels_first


@dataclasses.dataclass(frozen=True)
class EncoderShape:
    """What an encoder takes and gives.

    Attributes:
        image: (height, width, channels); None where it takes any.
        num_features: F.
        dtype: of the features.
    """

    image: tuple[int | None, int | None, int]
    num_features: int
    dtype: str


def encoder_shape(encoder: Any) -> EncoderShape:
    """What an encoder takes and gives.

    Args:
        encoder: a built keras.Model, images `[B, H, W, C]` -> features `[B, F]`: one input, one output.

    Raises:
        InputError: it is none.

    Examples:
        >>> encoder_shape(tfcontrastive.ResNet(18, input_shape=(32, 32, 3))).num_features
        512
    """
    if not isinstance(encoder, keras.Layer):
        raise _refused(type(encoder).__name__)
    inputs, output = _input_shapes(encoder), None
    if len(inputs) > 1:
        raise _refused(f"{encoder.name} with {len(inputs)} inputs", "Give it the images alone.")
    image = inputs[0] if inputs else ()
    if len(image) == 4:
        output = _output(encoder, image)
    if isinstance(output, (dict, list, tuple)):
        form = "dictionary" if isinstance(output, dict) else "list"
        raise _refused(f"{encoder.name} with a {form} of outputs", "Use keras.Model(encoder.input, one of them).")
    shape = None if output is None else tuple(output.shape)
    if shape is None or len(shape) != 2 or shape[-1] is None:
        raise _refused(f"{encoder.name} with output shape {shape}", "Add pooling, or call it once on a batch.")
    if channels_first(image) or image[-1] is None:
        raise _refused(f"{encoder.name} for images {tuple(image)}", "Channels come last, and their number is known.")
    height, width = image[1:3] if getattr(encoder, "inputs", None) else (None, None)  # a subclass does not say
    return EncoderShape((height, width, image[-1]), shape[-1], keras.backend.standardize_dtype(output.dtype))


def _refused(received: str, advice: str = "") -> InputError:
    return InputError(
        "`encoder` must be a built keras.Model that maps images [B, H, W, C] to features [B, F]. "
        f"Received: {received}.{advice and ' '}{advice}"
    )


def _input_shapes(encoder: keras.Layer) -> list[tuple[int | None, ...]]:
    """Of a graph of layers its inputs' shapes; of a subclass those that it was built with."""
    try:
        inputs = getattr(encoder, "inputs", None)
    except (AttributeError, ValueError):
        inputs = None
    if inputs:
        return [tuple(tensor.shape) for tensor in inputs]
    shapes = list((getattr(encoder, "_build_shapes_dict", None) or {}).values()) if encoder.built else []
    return [tuple(shape) for shape in shapes if shape is not None]


def _output(encoder: keras.Layer, image: tuple[int | None, ...]) -> Any:
    if isinstance(encoder, keras.Sequential) and encoder.outputs:
        return encoder.outputs[0]  # its `output` is of calls of it
    if getattr(encoder, "inputs", None):
        return encoder.output
    return encoder.compute_output_spec(keras.KerasTensor(image))
