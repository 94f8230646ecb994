"""Makes `tfcontrastive/data/embedded`: 12,000 images of Fashion-MNIST as a prepared tensorflow-datasets directory.

    python benchmarks/make_embedded.py /usr/share/datasets/fashion-mnist tfcontrastive/data/embedded

The first argument holds the four IDX files (`train-images-idx3-ubyte.gz`, ...), as Debian's package
`dataset-fashion-mnist` installs them. 1,000 training and 200 test images of each class are drawn with a fixed seed from
the files of the same name, so the same files always give the same records.
"""

import gzip
import io
import pathlib
import sys

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

NAME, VERSION = "fashion_mnist_subset", "1.0.0"
CLASS_NAMES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
SPLITS = {"train": ("train", 1000), "test": ("t10k", 200)}
SEED = 20170825

DESCRIPTION = """\
A balanced subset of Fashion-MNIST: 28x28 grayscale pictures of clothes in 10 classes, 1,000 training and 200 test
images a class, drawn with a fixed seed. The images and labels are unchanged. Copyright 2017 Zalando SE, MIT licence."""

CITATION = """\
@online{xiao2017fashionmnist,
  author = {Han Xiao and Kashif Rasul and Roland Vollgraf},
  title = {Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms},
  date = {2017-08-28},
  eprint = {1708.07747},
  eprinttype = {arXiv},
}"""

LICENSE = """\
MIT License

Copyright (c) 2017 Zalando SE, https://tech.zalando.com

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""


def read_idx(path: pathlib.Path) -> np.ndarray:
    """An IDX file of bytes: two zero bytes, the type, the rank, the big-endian sizes, the data."""
    content = gzip.decompress(path.read_bytes())
    if content[:3] != b"\0\0\x08":
        raise ValueError(f"{path} is not an IDX file of unsigned bytes.")
    rank = content[3]
    shape = np.frombuffer(content, ">i4", rank, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)


def choose(labels: np.ndarray, per_class: int, seed: int) -> np.ndarray:
    """Sorted positions of `per_class` random examples of each class."""
    rng = np.random.default_rng(seed)
    chosen = [rng.choice(np.flatnonzero(labels == c), per_class, replace=False) for c in range(len(CLASS_NAMES))]
    return np.sort(np.concatenate(chosen))


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="png", optimize=True)
    return buffer.getvalue()


FEATURES = tfds.features.FeaturesDict(
    {
        "image": tfds.features.Image(shape=(28, 28, 1), encoding_format="png"),
        "label": tfds.features.ClassLabel(names=CLASS_NAMES),
    }
)


def write_split(path: pathlib.Path, images: np.ndarray, labels: np.ndarray, per_class: int) -> None:
    """Writes the chosen examples in a random order, serialized with their fields in a fixed order."""
    chosen = np.random.default_rng(SEED + 1).permutation(choose(labels, per_class, SEED))
    with tf.io.TFRecordWriter(str(path)) as writer:
        for index in chosen:
            example = tf.train.Example()
            example.features.feature["image"].bytes_list.value.append(png(images[index]))
            example.features.feature["label"].int64_list.value.append(int(labels[index]))
            writer.write(example.SerializeToString(deterministic=True))


def main(source: str, destination: str) -> None:
    directory = pathlib.Path(destination) / NAME / VERSION
    directory.mkdir(parents=True, exist_ok=True)
    for split, (prefix, per_class) in SPLITS.items():
        images = read_idx(pathlib.Path(source) / f"{prefix}-images-idx3-ubyte.gz")
        labels = read_idx(pathlib.Path(source) / f"{prefix}-labels-idx1-ubyte.gz")
        write_split(directory / f"{NAME}-{split}.tfrecord-00000-of-00001", images, labels, per_class)
    tfds.folder_dataset.write_metadata(
        data_dir=directory,
        features=FEATURES,
        description=DESCRIPTION,
        supervised_keys=("image", "label"),
        homepage="https://github.com/zalandoresearch/fashion-mnist",
        citation=CITATION,
        license="MIT",
    )
    (directory / "LICENSE").write_text(LICENSE)
    print(f"{directory}: {sum(path.stat().st_size for path in directory.iterdir()) / 1e6:.1f} MB")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
