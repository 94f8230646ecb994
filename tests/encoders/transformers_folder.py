"""A folder as Hugging Face transformers' `save_pretrained` writes it: config.json and model.safetensors, by their names."""

from __future__ import annotations

import json
import pathlib

import keras
import numpy as np

from tfcontrastive.pretrained.safetensors_file import write_safetensors


def write_dinov2(folder: pathlib.Path, backbone: keras.Model) -> None:
    """A Dinov2Model with the weights of a keras_hub backbone.

    Args:
        folder: an existing directory.
        backbone: a `DINOV2Backbone` with registers.
    """
    config = {
        "model_type": "dinov2_with_registers", "architectures": ["Dinov2WithRegistersModel"],
        "hidden_size": backbone.hidden_dim, "num_hidden_layers": backbone.num_layers,
        "num_attention_heads": backbone.num_heads, "mlp_ratio": backbone.intermediate_dim / backbone.hidden_dim,
        "patch_size": backbone.patch_size, "image_size": backbone.position_embedding_shape[0], "layerscale_value": 1.0,
        "num_register_tokens": backbone.num_register_tokens, "use_swiglu_ffn": False, "hidden_dropout_prob": 0.0,
        "drop_path_rate": 0.0, "use_mask_token": True, "apply_layernorm": True,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    write_safetensors(str(folder / "model.safetensors"), dict(_tensors(backbone)))


def _tensors(backbone):
    embeddings, width = backbone.embeddings, backbone.hidden_dim

    def norm(name, layer):
        yield f"{name}.weight", _array(layer.gamma)
        yield f"{name}.bias", _array(layer.beta)

    def dense(name, layer, inputs=width):
        kernel = _array(layer.kernel)
        yield f"{name}.weight", kernel.reshape(inputs, -1).T.copy()
        yield f"{name}.bias", _array(layer.bias).reshape(-1)

    yield "embeddings.cls_token", _array(embeddings.cls_token)
    yield "embeddings.mask_token", _array(embeddings.mask_token)
    yield "embeddings.register_tokens", _array(embeddings.register_tokens)
    yield "embeddings.position_embeddings", _array(embeddings.position_embeddings)
    patches = embeddings.patch_embeddings.projection
    yield "embeddings.patch_embeddings.projection.weight", _array(patches.kernel).transpose(3, 2, 0, 1).copy()
    yield "embeddings.patch_embeddings.projection.bias", _array(patches.bias)
    for number, layer in enumerate(backbone.encoder.layers):
        name = f"encoder.layer.{number}"
        yield from norm(f"{name}.norm1", layer.norm1)
        yield from norm(f"{name}.norm2", layer.norm2)
        attention = layer.attention.attention
        for part in ("query", "key", "value"):
            yield from dense(f"{name}.attention.attention.{part}", getattr(attention, f"{part}_dense"))
        yield from dense(f"{name}.attention.output.dense", attention.output_dense)
        yield f"{name}.layer_scale1.lambda1", _array(layer.layer_scale1.lambda1)
        yield f"{name}.layer_scale2.lambda1", _array(layer.layer_scale2.lambda1)
        yield from dense(f"{name}.mlp.fc1", layer.mlp.fc1)
        yield from dense(f"{name}.mlp.fc2", layer.mlp.fc2, backbone.intermediate_dim)
    yield from norm("layernorm", backbone.layernorm)


def _array(weight) -> np.ndarray:
    return np.asarray(weight, np.float32)
