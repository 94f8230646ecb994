"""What an encoder's features say of an image's layout: why `dim` learns little from the embedded images.

    python benchmarks/layout.py --methods=dim:85,amdim:70,simclr:130 --seed=0

Trains `embedded_NAME` for so many steps each. Printed is the share of the variance of the features (unit length, the
2,000 test images) that a linear regression explains: from the mean and the standard deviation of an image's pixels,
which every place of it has a part in, and from its thumbnail of 4 x 4 pixels, which says where it is light.
"""

import argparse
import tempfile

import numpy as np
from machine import machine
from methods import config_of, of_length, recipe_words


def explained(features: np.ndarray, causes: np.ndarray) -> float:
    """The share of the variance of `[N, F]` that a linear function of `[N, C]` explains."""
    features = features - features.mean(axis=0)
    causes = np.concatenate([causes, np.ones((len(causes), 1))], axis=1)
    found = causes @ np.linalg.lstsq(causes, features, rcond=None)[0]
    return float((found**2).sum() / (features**2).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default="dim:85,amdim:70,simclr:130", help="names and steps")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(machine())

    from tfcontrastive import data
    from tfcontrastive.runs.pretrain import train

    images = data.load("embedded").arrays("test")[0][:2000].astype(np.float32) / 255
    light = np.stack([images.mean(axis=(1, 2, 3)), images.std(axis=(1, 2, 3))], axis=1)
    thumbnails = images.reshape(len(images), 4, 7, 4, 7).mean(axis=(2, 4)).reshape(len(images), -1)
    for word in options.methods.split(","):
        name, steps = word.split(":")
        with tempfile.TemporaryDirectory() as directory:
            words = of_length(recipe_words(name), int(steps))
            done = train(config_of(words, options.seed, directory), say=lambda line: None)
            features = done.model.encoder.predict(images, verbose=0, batch_size=250)
        features = features / np.linalg.norm(features, axis=1, keepdims=True)
        print(
            f"{name}, {steps} steps: kNN {done.metrics['knn_top1']:.1%}; explained by mean and deviation "
            f"{explained(features, light):.0%}, by the thumbnail {explained(features, thumbnails):.0%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
