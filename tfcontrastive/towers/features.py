"""What a tower gives: one vector of each of its inputs."""

from __future__ import annotations

from typing import Any

import keras

from tfcontrastive.config import InputError


def features_of(name: str, encoder: Any) -> tuple[int, str]:
    """The width of an encoder's features, and their dtype."""
    if not isinstance(encoder, keras.Model):
        raise _refused(name, type(encoder).__name__)
    if not encoder.built:
        raise _refused(name, f"{encoder.name}, which has no weights yet", "Call it once on a batch.")
    if getattr(encoder, "inputs", None):
        output = encoder.outputs[0] if len(encoder.outputs) == 1 else encoder.outputs
    else:  # a subclass: of what it was built with
        shape = (encoder.get_build_config() or {}).get("input_shape")
        if shape is None:
            raise _refused(name, f"{encoder.name}, whose inputs are not known", "Call it once on a batch.")
        output = encoder.compute_output_spec(keras.tree.map_shape_structure(keras.KerasTensor, shape))
    shape = getattr(output, "shape", None)
    if shape is None or len(shape) != 2 or shape[-1] is None:
        raise _refused(name, f"{encoder.name} with output {output}", "Give it one output, pooled.")
    return shape[-1], keras.backend.standardize_dtype(output.dtype)


def _refused(name: str, received: str, advice: str = "") -> InputError:
    return InputError(
        f"`{name}` must be a built keras.Model that maps one side of pairs to features [B, F]. "
        f"Received: {received}.{advice and ' '}{advice}"
    )
