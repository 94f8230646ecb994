"""What each LiteRT quantization keeps of an encoder's vectors, and what a file takes: a transformer and a ResNet.

    python benchmarks/quantize.py [--networks=vit,resnet] [--steps=100]

Each network learns the classes of the embedded images for so many steps of 64, so that its activations are those of a
trained one, and is converted in every way on 128 training images. A row: the mean and the least cosine similarity to the
SavedModel's vectors on these, the file, and the milliseconds of one image, the tenth percentile of 300 calls.
"""

import argparse
import tempfile
import time

import numpy as np
from machine import machine


def trained(kind: str, images: np.ndarray, labels: np.ndarray, steps: int):
    """An encoder that has learned a little."""
    import keras

    import tfcontrastive as tfc

    keras.utils.set_random_seed(0)
    shape = images.shape[1:]
    if kind == "vit":
        encoder = tfc.ViT(width=128, depth=4, num_heads=4, patch_size=4, input_shape=shape)
    else:
        encoder = tfc.ResNet(18, width_multiplier=0.25, input_shape=shape)
    model = keras.Sequential([encoder, keras.layers.Dense(10)])
    model.compile(keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images[: 32 * steps], labels[: 32 * steps], batch_size=64, epochs=2, verbose=0)
    return encoder


def converted(saved: str, folder: str, quantize: str, images: np.ndarray) -> str:
    """A row of the table."""
    import tensorflow as tf

    from tfcontrastive import export
    from tfcontrastive.config import InputError
    from tfcontrastive.export.convert import _interpreter

    try:
        path, size = f"{folder}/{quantize}.tflite", images.shape[1]
        done = export.to_tflite(saved, path, image_size=size, quantize=quantize, images=images)
    except InputError as error:
        return f"refused: {str(error).partition('Received: ')[2]} | | |"
    with open(path, "rb") as file:
        run = _interpreter(file.read()).get_signature_runner()
    expected, found = tf.saved_model.load(saved)(images).numpy(), run(images=images)["embedding"]
    lengths = np.linalg.norm(expected, axis=1) * np.linalg.norm(found, axis=1)
    least = float(((expected * found).sum(axis=1) / np.maximum(lengths, 1e-12)).min())
    run(images=images[:1])
    seconds = []
    for row in range(300):
        began = time.perf_counter()
        run(images=images[row % len(images)][None])
        seconds.append(time.perf_counter() - began)
    return (
        f"{done.cosine_similarity:.4f} | {least:.4f} | {done.bytes / 1e6:.2f} | {1e3 * np.quantile(seconds, 0.1):.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default="vit,resnet")
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()

    from tfcontrastive import data, export

    images, labels = data.load("embedded").arrays("train")
    images = images.astype(np.float32) / 255
    print(machine())
    print("| network | --quantize | cosine | least | MB | ms an image |\n|---|---|---|---|---|---|")
    for kind in options.networks.split(","):
        encoder = trained(kind, images, labels, options.steps)
        with tempfile.TemporaryDirectory() as folder:
            saved = export.save_model(encoder, folder, image_size=images.shape[1])
            for quantize in ("none", "float16", "dynamic", "int8", "int8_mixed"):
                print(f"| {kind} | {quantize} | {converted(saved, folder, quantize, images[:128])}", flush=True)


if __name__ == "__main__":
    main()
