"""Writes fixtures/foundation/keras_hub.json: features of keras_hub's backbones, as `tests.foundation_make` does of others.

Needs keras_hub, in an environment of its own; `python -m tests.foundation_make_hub`.
"""

from __future__ import annotations

import json
import pathlib
import tempfile

import h5py
import keras_hub
import numpy as np

from tests.foundation import FOLDER, images, stored, weight

SMALL = {"num_layers": 2, "hidden_dim": 32, "num_heads": 2, "intermediate_dim": 128}


def hub_case(name, kind, size, **options):
    """A preset folder whose variables are by the rule, and its class token after the last normalisation."""
    with tempfile.TemporaryDirectory() as folder:
        kind(**SMALL, **options, image_shape=(size, size, 3)).save_to_preset(folder)
        shapes = {}
        with h5py.File(f"{folder}/model.weights.h5", "r+") as file:

            def fill(place, item):
                if isinstance(item, h5py.Dataset):
                    shapes[place] = list(item.shape)
                    item[...] = weight(place, item.shape)

            file.visititems(fill)
        backbone = keras_hub.models.Backbone.from_preset(folder)
        config = json.loads((pathlib.Path(folder) / "config.json").read_text())
    inputs = images((size, size))
    tokens = backbone.predict(dict.fromkeys(backbone.input, inputs) if isinstance(backbone.input, dict) else inputs)
    return {
        "case": name,
        "file": "model.weights.h5",
        "as_folder": True,
        "beside": {"config.json": config},
        "variables": [[place, shape, *_copied(place, shapes)] for place, shape in shapes.items()],
        "features": [[[size, size], stored(np.asarray(tokens)[:, 0])]],
    }


def _copied(place, shapes):
    """The table that the network uses at its own size is the second of two, which are alike in a preset."""
    home, _, number = place.rpartition("/")
    other = f"{home}/{int(number) + 1}"
    return [other] if len(shapes[place]) == 3 and shapes[place][1] > 4 and shapes.get(other) == shapes[place] else []


if __name__ == "__main__":
    hub = keras_hub.models
    cases = [
        hub_case("dinov2_keras_hub", hub.DINOV2Backbone, 56, patch_size=14, position_embedding_shape=(56, 56)),
        hub_case(
            "dinov2_keras_hub_registers", hub.DINOV2Backbone, 56, patch_size=14, position_embedding_shape=(56, 56),
            num_register_tokens=4,
        ),
        hub_case(
            "dinov3_keras_hub", hub.DINOV3Backbone, 64, patch_size=16, num_register_tokens=4, use_key_bias=False,
        ),
    ]  # fmt: skip
    text = json.dumps({"versions": {"keras_hub": keras_hub.__version__}, "cases": cases}, separators=(",", ":"))
    (FOLDER / "keras_hub.json").write_text(text + "\n")
