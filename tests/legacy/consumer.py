"""Runs on TensorFlow 2.15: loads the artefact, embeds, fine-tunes with tensorflow-addons' LAMB."""

import json
import pathlib
import sys

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa
import tensorflow_hub as hub

folder = pathlib.Path(sys.argv[1])
images = np.load(folder / "images.npy")
path = (folder / "path").read_text()

module = hub.load(path)
np.savez(
    folder / "embedded.npz",
    call=module(images),
    signature=module.signatures["serving_default"](tf.constant(images))["embedding"],
    files=module.signatures["image_bytes"](tf.constant([(folder / "image.jpg").read_bytes()]))["embedding"],
)


def fine_tune(trainable):
    layer = hub.KerasLayer(path, trainable=trainable)
    model = tf.keras.Sequential([tf.keras.Input(images.shape[1:]), layer, tf.keras.layers.Dense(2)])
    model.compile(tfa.optimizers.LAMB(0.01), tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = [variable.numpy() for variable in layer.variables]
    losses = model.fit(images, np.arange(len(images)) % 2, epochs=8, verbose=0).history["loss"]
    return {
        "changed": [bool((a != b.numpy()).any()) for a, b in zip(before, layer.variables, strict=True)],
        "penalties": [float(loss) for loss in layer.losses],
        "first_loss": losses[0],
        "last_loss": losses[-1],
    }


report = {"tensorflow": tf.__version__, "tuned": fine_tune(True), "frozen": fine_tune(False)}
(folder / "report.json").write_text(json.dumps(report))
