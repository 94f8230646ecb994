"""One SavedModel, three ways to ask it for vectors, and a check that all three give the same.

    python examples/serve_embeddings.py

1. `tf.saved_model.load`: TensorFlow alone, without this package and without Keras.
2. `keras.layers.TFSMLayer`: a layer of a Keras model.
3. The signature `image_bytes`: the bytes of PNG, JPEG, GIF, BMP or WebP files, decoded and resized by the model itself,
   exactly as in evaluation. It is what clients of TensorFlow Serving send.

First SimCLR trains for one epoch, so that there is something to serve. On 2 cores all of it takes about half a minute;
`--limit=256` trains on 256 images only.
"""

import argparse
import io
import tempfile

import numpy as np
from PIL import Image

import tfcontrastive as tfc  # before TensorFlow, as it turns on what makes training on a CPU twice as fast

# isort: split
import keras
import tensorflow as tf


def network():
    """The encoder, images `[B, 28, 28, 1]` to features `[B, 128]`."""
    return tfc.ResNet(18, width_multiplier=0.25, zero_init_residual=False, input_shape=(28, 28, 1))


def train(images, epochs):
    """SimCLR on an array of images: `fit` makes the views inside the training step."""
    model = tfc.SimCLR(network(), tfc.SimCLRConfig(temperature=0.2))
    model.compile(optimizer=tfc.optimizers.build("adamw", 0.002))
    model.fit(images, batch_size=128, epochs=epochs, verbose=2)
    return model


def png(image):
    """A gray image, uint8 `[H, W, 1]`, as the bytes of a PNG file."""
    file = io.BytesIO()
    Image.fromarray(image[:, :, 0]).save(file, format="PNG")
    return file.getvalue()


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=1, help="of training before the export")
    parser.add_argument("--limit", type=int, default=5000, help="images to train on")
    parser.add_argument("--output", help="where to leave the SavedModel; default: a new temporary directory")
    args = parser.parse_args(argv)
    source = tfc.data.load("embedded")
    model = train(source.arrays(f"train[:{args.limit}]")[0], args.epochs)
    path = tfc.export.save_model(model, args.output or tempfile.mkdtemp(prefix="serve_embeddings_"))
    print(f"The SavedModel is {path}.")

    pixels = source.arrays("test[:64]")[0]  # uint8, 0..255
    images = pixels.astype(np.float32) / 255  # what every signature but `image_bytes` takes: floats in [0, 1]

    loaded = tf.saved_model.load(path)
    layer = keras.layers.TFSMLayer(path, call_endpoint="serving_default")
    answers = {
        "tf.saved_model.load": loaded.signatures["serving_default"](images=tf.constant(images)),
        "keras.layers.TFSMLayer": layer(images),
        "image_bytes": loaded.signatures["image_bytes"](image_bytes=tf.constant([png(image) for image in pixels])),
    }
    expected = model.predict(images, verbose=0)  # the model itself, before the export
    for name, answer in answers.items():
        vectors = answer["embedding"].numpy()  # `embedding_l2` is the same at unit length
        difference = np.abs(vectors - expected).max()
        print(f"{name}: vectors {vectors.shape}, at most {difference:.1e} away from the model's own")
        if not difference <= 1e-5 * np.abs(expected).max():
            raise SystemExit(f"{name} gives other vectors than the model that was exported.")


if __name__ == "__main__":
    main()
