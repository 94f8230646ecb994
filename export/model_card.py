"""The facts that travel with an exported model: `model_card.json`, and a README in the form that model hubs expect."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

import tfcontrastive
from tfcontrastive import storage
from tfcontrastive.config.fields import is_config
from tfcontrastive.data import Preprocessing
from tfcontrastive.export.image_bytes import MAX_PIXELS
from tfcontrastive.pretrained.trained import CARD

_OPTIMIZED = """
`serving_default` and `image_bytes` run the network with batch normalisation folded into the convolutions, its weights as
constants. They do not follow fine-tuning: call the loaded object itself, as `hub.KerasLayer` does, or export the tuned
encoder anew.
"""

_SERVE = """
## Serve

`tfcontrastive serve-check BASE --benchmark --batch_size=N` measures on your machine which artefact and which setting is
fastest for your batches, and with `--write` configures TensorFlow Serving so. Where nothing was measured, set
`TF_ENABLE_ONEDNN_OPTS=1`: {reason}.
"""

_REASON = {
    True: "with batch normalisation folded it was the faster one on a CPU with AVX-512, and with oneDNN held to AVX2 there",
    False: "`=0` where a fused batch normalisation is in it and a CPU without AVX-512 is asked for single images",
}

_FILES = """`image_bytes` takes whole JPEG, PNG, GIF, BMP or WebP files, decodes them (EXIF orientation:
{exif_orientation}; transparent images lie on {background_color}), crops them ({crop}), resizes to {size} x {size}
({resize}) and scales to [0, 1], as in evaluation.
One file that cannot be decoded fails its batch with INVALID_ARGUMENT and a message that names it.
"""


def model_card(
    model: keras.Model,
    encoder: keras.Model,
    saved_model: str,
    size: int,
    more: dict[str, Any],
    rule: Preprocessing,
) -> dict[str, Any]:
    """Everything known about the model, as JSON values; `more` comes from whoever trained it."""
    config = getattr(model, "config", None)
    signatures = described_signatures(meta_graph(saved_model))
    served = signatures["serving_default"]
    return {
        "name": encoder.name,
        "method": type(model).__name__ if model is not encoder else None,
        "config": dataclasses.asdict(config) if is_config(config) else None,
        "embedding_dim": served["outputs"]["embedding"]["shape"][-1],
        "parameters": int(encoder.count_params()),
        "preprocessing": preprocessing(size, served["inputs"]["images"]["shape"][-1], rule),
        "signatures": signatures,
        "versions": {package.__name__: package.__version__ for package in (tfcontrastive, tf, keras)},
        **more,
    }


def read_card(saved_model: str | os.PathLike) -> dict[str, Any]:
    """The facts of an exported model, {} where it has none.

    Args:
        saved_model: the directory of a version.
    """
    path = os.path.join(saved_model, CARD)
    return json.loads(storage.read_text(path)) if storage.exists(path) else {}


def preprocessing(size: int, channels: int, rule: Preprocessing) -> dict[str, Any]:
    """What `image_bytes` does before the encoder, with a hash that tells whether two models agree.

    The normalisation of `rule` is part of the encoder: all signatures take pixels in [0, 1].
    """
    facts = {
        "image_size": size,
        "channels": channels,
        "crop": f"center, {rule.crop:g} of the short side" if size > 32 else "none",
        "resize": rule.resize,
        "pixel_range": [0.0, 1.0],
        "rule": dataclasses.asdict(rule),
        "exif_orientation": "ignored",
        "background_color": rule.rendering().background_color,
        "max_pixels": MAX_PIXELS,
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return {**facts, "hash": digest[:16]}


def readme(card: dict[str, Any]) -> str:
    """The card as a model hub's README: front matter, what it is, how to call it."""
    size, channels = card["preprocessing"]["image_size"], card["preprocessing"]["channels"]
    rows = "\n".join(
        f"| `{name}` | {_list(spec['inputs'])} | {_list(spec['outputs'])} |"
        for name, spec in card["signatures"].items()
    )
    trained = f"trained with {card['method']}" if card["method"] else "exported as it is"
    name = f"{card['method']} {card['name']}" if card["method"] else card["name"]
    numbers = {
        key: f"{value:.4g}" for key, value in (card.get("metrics") or {}).items() if isinstance(value, int | float)
    }
    dataset = (card.get("data") or {}).get("dataset")
    table = "".join(f"| {key} | {value} |\n" for key, value in numbers.items())
    on = f" on {dataset}" if dataset else ""
    results = f"\n## Results\n\n| metric{on} | value |\n|---|---|\n{table}" if numbers else ""
    source, folded = _imported(card.get("imported") or {}), bool(card.get("optimized"))
    files = _FILES.format(size=size, **card["preprocessing"]) if "image_bytes" in card["signatures"] else ""
    return f"""---
library_name: tf-keras
pipeline_tag: image-feature-extraction
tags:
- image-feature-extraction
- self-supervised-learning
- tensorflow
{_model_index(name, dataset, numbers)}---

# {name}

An image encoder {trained}: images in, vectors of {card["embedding_dim"]} numbers out
({card["parameters"]:,} parameters). All facts are in `model_card.json`.
{source}{results}
## Use

```python
import tensorflow as tf

model = tf.saved_model.load(path)  # keep this object while its signatures are in use
outputs = model.signatures["serving_default"](images=tf.zeros([1, {size}, {size}, {channels}]))
outputs["embedding"], outputs["embedding_l2"]
```

In Keras 3: `keras.layers.TFSMLayer(path, call_endpoint="serving_default")`.
To fine-tune in Keras 2, where tf_keras has a release for your TensorFlow: `hub.KerasLayer(path, trainable=True)`.

## Signatures

| name | inputs | outputs |
|---|---|---|
{rows}

Images are float32 in [0, 1].
{files}{_searched(card)}{_OPTIMIZED if folded else ""}{_SERVE.format(reason=_REASON[folded])}"""


def _searched(card: dict[str, Any]) -> str:
    """How to search in the index, if there is one."""
    if "index" not in card:
        return ""
    index = card["index"]
    return f"""
## Search

`nearest` and `nearest_bytes` give the `k` nearest of {index["rows"]:,} rows of {index["dim"]} numbers ({index["dtype"]}),
which are part of this model, by cosine similarity: every row is compared.

```python
found = model.signatures["nearest"](images=images, k=tf.constant(5))
found["ids"], found["similarities"], found["labels"]  # [B, k], from the nearest on
```

In Keras 3: `keras.layers.TFSMLayer(path, call_endpoint="nearest")(images, k=5)`. Over TensorFlow Serving's REST, `k` is one
number: `{{"signature_name": "nearest_bytes", "inputs": {{"image_bytes": [{{"b64": "..."}}], "k": 5}}}}`.
"""


def _imported(facts: Mapping[str, Any]) -> str:
    """Whose weights these are, and under which terms, where that is known."""
    told = {
        "weights": facts.get("family"),
        "licence of the weights": facts.get("licence"),
        "feature": facts.get("feature"),
        "preprocessing": facts.get("preprocessing"),
    }
    rows = "".join(f"- {name}: {value}\n" for name, value in told.items() if value)
    return f"\n## Source\n\n{rows}" if facts.get("licence") else ""


def _model_index(name: str, dataset: str | None, numbers: dict[str, str]) -> str:
    """The results for a hub's leaderboards, if there are any: they belong to a data set."""
    if not numbers or not dataset:
        return ""
    quoted = json.dumps(dataset)
    metrics = "".join(f"    - type: {key}\n      value: {value}\n" for key, value in numbers.items())
    return (
        f"model-index:\n- name: {json.dumps(name)}\n  results:\n  - task:\n      type: image-feature-extraction\n"
        f"    dataset:\n      name: {quoted}\n      type: {quoted}\n    metrics:\n{metrics}"
    )


def meta_graph(saved_model: str | os.PathLike) -> meta_graph_pb2.MetaGraphDef:
    """The graph and the signatures of a SavedModel, as its file has them.

    Args:
        saved_model: the directory of `saved_model.pb`.
    """
    with tf.io.gfile.GFile(os.path.join(saved_model, "saved_model.pb"), "rb") as file:
        return saved_model_pb2.SavedModel.FromString(file.read()).meta_graphs[0]


def described_signatures(meta: meta_graph_pb2.MetaGraphDef) -> dict[str, dict[str, Any]]:
    """{signature: {"inputs" | "outputs": {name: {"dtype", "shape"}}}}."""
    return {
        name: {"inputs": _describe(signature.inputs), "outputs": _describe(signature.outputs)}
        for name, signature in sorted(meta.signature_def.items())
        if not name.startswith("__")
    }


def _describe(tensors: Mapping[str, meta_graph_pb2.TensorInfo]) -> dict[str, dict[str, Any]]:
    """Names, types and shapes; the shape is None where even the rank is free."""

    def sides(info):
        shape = tf.TensorShape(info.tensor_shape)
        return shape.as_list() if shape.rank is not None else None

    return {
        name: {"dtype": tf.dtypes.as_dtype(info.dtype).name, "shape": sides(info)}
        for name, info in sorted(tensors.items())
    }


def _list(tensors: dict[str, dict[str, Any]]) -> str:
    def text(name, spec):
        shape = (
            "any" if spec["shape"] is None else ", ".join("?" if side is None else str(side) for side in spec["shape"])
        )
        return f"`{name}` {spec['dtype']} [{shape}]"

    return "<br>".join(text(name, spec) for name, spec in tensors.items())
