"""What an encoder is worth after so many minutes of training: this library beside lightly, on the same images and cores.

    apt-get install dataset-fashion-mnist
    python benchmarks/record.py --minutes=8 --data=/usr/share/datasets/fashion-mnist --rival_python=VENV/bin/python
    python benchmarks/record.py --minutes=8 --data=images.npz --ours=record_5min --seeds=0     # this library alone
    python benchmarks/record.py --minutes=8 --data=/usr/share/datasets/fashion-mnist --table   # train nothing

--data is a folder of IDX files (`train-images-idx3-ubyte.gz`, ...) or an npz file of `x_train`, `y_train`, `x_test` and
`y_test`, or of `images` and `labels`, of which every fifth is held out; see `record_sets.py`. Each contestant is a process
of its own and runs alone: a recipe of this library, or a method of lightly 1.6 (`record_rival.py`, with its own
augmentation, head and loss). Both train by the clock, imports and compiling included; at five points, the clock stopped,
they write the features of the images down. This program measures all of them by the same kNN (k=200, T=0.1), the last ones
by a linear probe too, and by kNN of the whitened features, and the bare pixels beside them. On a machine that does other
things take one core, `taskset -c 1`, --threads=1 and --clock=processor: minutes are then the processor's time. A line of
JSON is appended to --output for each run; what stands there is not run again. PyTorch runs with a malloc that keeps its
memory. The picture needs matplotlib.
"""

import argparse
import gzip
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

import numpy as np
from machine import KEEPS_MEMORY, machine

HERE = pathlib.Path(__file__).parent
RIVALS = ("simclr", "dcl", "moco", "swav", "fastsiam", "vicreg", "barlow_twins")
POINTS = (0.125, 0.25, 0.5, 0.75, 1.0)
"""Of the training, at which features are written."""

MEASURED = 10_000
"""Images of each split that are measured, the first ones."""


def read_idx(path: pathlib.Path) -> np.ndarray:
    content = gzip.decompress(path.read_bytes())
    return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(
        np.frombuffer(content, ">i4", content[3], offset=4)
    )


def images_of(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The images `[N, H, W, C]` and labels of a set, by split."""
    if path.is_dir():
        found = {}
        for name, prefix in (("train", "train"), ("test", "t10k")):
            images = read_idx(path / f"{prefix}-images-idx3-ubyte.gz")
            found[f"{name}_images"] = images[..., None] if images.ndim == 3 else images
            found[f"{name}_labels"] = read_idx(path / f"{prefix}-labels-idx1-ubyte.gz").astype(np.int64)
        return found
    held = np.load(path)
    if "x_train" in held:
        return {
            f"{split}_{key}": held[f"{short}_{split}"].astype(dtype)
            for split in ("train", "test")
            for key, short, dtype in (("images", "x", np.uint8), ("labels", "y", np.int64))
        }
    images, labels = held["images"], held["labels"].astype(np.int64)
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images[order], labels[order]
    test = np.arange(len(images)) % 5 == 0
    return {
        "train_images": images[~test], "train_labels": labels[~test],
        "test_images": images[test], "test_labels": labels[test],
    }  # fmt: skip


def run(contestant: str, options: argparse.Namespace, data: str, seed: int) -> dict:
    """One contestant's run, and what its features are worth on the way."""
    kind, name = contestant.split("/")
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    if kind == "lightly":
        command = [options.rival_python, str(HERE / "record_rival.py")]
        environment |= KEEPS_MEMORY
    else:
        command = [sys.executable, str(HERE / "record_ours.py"), f"--flags={options.flags}"]
    with tempfile.TemporaryDirectory() as folder:
        words = [f"--{key}={getattr(options, key)}" for key in ("minutes", "threads", "width", "clock")]
        words += [f"--name={name}", f"--data={data}", f"--folder={folder}", f"--seed={seed}"]
        subprocess.run([*command, *words], check=True, env=environment)
        facts = json.loads(pathlib.Path(folder, "facts.json").read_text())
        labels = np.load(data)
        for index, point in enumerate(facts["points"]):
            last = index == len(facts["points"]) - 1
            point |= accuracies(np.load(f"{folder}/{index}.npz"), labels, last=last)
    return {**identity(contestant, options, seed), **facts}


def identity(contestant: str, options: argparse.Namespace, seed: int) -> dict:
    """What a run is known by."""
    return {
        "contestant": contestant, "data": options.data.name, "minutes": options.minutes, "width": options.width,
        "seed": seed,
        "flags": options.flags if contestant.startswith("ours") else "", "threads": options.threads, "clock": options.clock,
        "machine": machine(),
    }  # fmt: skip


def accuracies(features, labels, *, last: bool) -> dict[str, float]:
    """kNN accuracy of the held-out images; of the last features the linear probe's, and kNN's of them whitened, too."""
    from tfcontrastive import evaluate

    train, test = labels["train_labels"][:MEASURED], labels["test_labels"][:MEASURED]
    classes = int(train.max()) + 1
    neighbours = evaluate.KNN(k=min(200, int(np.bincount(train).min())), temperature=0.1)
    held = evaluate.LabelledFeatures(features["train"], train, features["test"], test, classes)
    found = {"knn": neighbours.measure(held)["knn_top1"]}
    if last:
        of_train, of_test = whitened(features["train"], features["test"])
        white = evaluate.LabelledFeatures(of_train, train, of_test, test, classes)
        found["knn_whitened"] = neighbours.measure(white)["knn_top1"]
        found["linear"] = evaluate.Linear(seed=0).measure(held)["linear_top1"]
    return found


def whitened(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both by the mean and covariance of the first, no label seen, which is made 3% round: else noise counts most."""
    mean = train.mean(axis=0)
    covariance = np.cov(train, rowvar=False)
    covariance += 0.03 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    factor = np.linalg.inv(np.linalg.cholesky(covariance)).T.astype(np.float32)
    return (train - mean) @ factor, (test - mean) @ factor


def of_pixels(options: argparse.Namespace, data: str) -> dict:
    """What the bare pixels are worth, in the form of a run."""
    held = np.load(data)
    pixels = {split: held[f"{split}_images"][:MEASURED].astype(np.float32) / 255 for split in ("train", "test")}
    flat = {split: images.reshape(len(images), -1) for split, images in pixels.items()}
    point = {"seconds": 0.0, "steps": 0, **accuracies(flat, held, last=True)}
    return {**identity("pixels", options, 0), "points": [point], "batch": 0}


def read(output: pathlib.Path) -> list[dict]:
    """Every run that was measured so far."""
    return [json.loads(line) for line in output.read_text().splitlines()] if output.exists() else []


def table(records: list[dict]) -> str:
    """Means and standard deviations over seeds, in Markdown, best first."""
    lines = [
        "| | kNN top-1 | whitened | linear top-1 | images seen | steps | minutes | seeds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rows = {}
    for one in records:
        rows.setdefault((one["contestant"], one["flags"]), []).append(one)

    def last(found, key):
        return [one["points"][-1][key] for one in found]

    def spread(values):
        return f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""

    for (name, flags), found in sorted(rows.items(), key=lambda row: -statistics.mean(last(row[1], "knn"))):
        columns = [[100 * value for value in last(found, key)] for key in ("knn", "knn_whitened", "linear")]
        accuracy = " | ".join(f"{statistics.mean(values):.1f}{spread(values)}" for values in columns)
        steps = statistics.mean(last(found, "steps"))
        lines.append(
            f"| {name}{' ' + flags if flags else ''} | {accuracy} | {steps * found[0]['batch']:,.0f} | {steps:,.0f} "
            f"| {statistics.mean(last(found, 'seconds')) / 60:.2f} | {', '.join(str(one['seed']) for one in found)} |"
        )
    return "\n".join(lines)


def time_ratio(records: list[dict]) -> str:
    """The share of the time in which the best recipe here reaches the best rival's last accuracy."""

    def best(kind):
        own = [one for one in records if one["contestant"].startswith(kind)]
        return max(own, key=lambda one: one["points"][-1]["knn"], default=None)

    mine, theirs = best("ours"), best("lightly")
    if mine is None or theirs is None:
        return ""
    wanted, whole, before = theirs["points"][-1]["knn"], theirs["points"][-1]["seconds"], None
    names = mine["contestant"], theirs["contestant"]
    for point in mine["points"]:
        now = (point["seconds"], point["knn"])
        if now[1] >= wanted and before is None:
            return (
                f"{names[0]} has passed {names[1]}'s {wanted:.1%} at its first point, {now[0] / whole:.2f} of its time."
            )
        if now[1] >= wanted:
            seconds = before[0] + (wanted - before[1]) / (now[1] - before[1]) * (now[0] - before[0])
            return f"{names[0]} reaches {names[1]}'s {wanted:.1%} in {seconds / whole:.2f} of its time (interpolated)."
        before = now
    return f"{mine['contestant']} does not reach {theirs['contestant']}'s {wanted:.1%}."


def picture(records: list[dict], path: pathlib.Path, title: str | None) -> None:
    """Curves of kNN accuracy against minutes, by matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8.4, 4.2), layout="constrained")
    for one in records:
        mine = one["contestant"].startswith("ours")
        if one["contestant"] == "pixels":
            axes.axhline(100 * one["points"][-1]["knn"], color="gray", linewidth=1, label="bare pixels")
            continue
        minutes = [point["seconds"] / 60 for point in one["points"]]
        label = f"{one['contestant']}, seed {one['seed']}"
        axes.plot(
            minutes, [100 * point["knn"] for point in one["points"]], "-o" if mine else "--s", markersize=4, label=label
        )
    first = records[0]
    minutes = "minutes of training" if first["clock"] == "wall" else "minutes of the processor"
    title = title or f"{first['data']}: {first['threads']} of {first['machine']}"
    axes.set(xlabel=minutes, ylabel="kNN top-1, %", title=title)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--rival_python", help="a Python that has lightly 1.6; without it this library is alone")
    parser.add_argument("--ours", default="record_5min", help="recipes")
    parser.add_argument("--rivals", default=",".join(RIVALS))
    parser.add_argument("--flags", default="", help="more flags of `tfcontrastive train`, with spaces between them")
    parser.add_argument("--width", type=float, default=0.25, help="of lightly's ResNet-18; 1: full")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--clock", default="wall", choices=("wall", "processor"), help="processor: for a busy machine")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("record.jsonl"))
    parser.add_argument("--picture", type=pathlib.Path, help="a .svg or .png of the curves")
    parser.add_argument("--title", help="of the picture; default: the set and the machine")
    parser.add_argument("--table", action="store_true", help="train nothing")
    options = parser.parse_args()
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # before a run is named by it, as importing the package sets it
    contestants = [f"ours/{name}" for name in options.ours.split(",") if name]
    if options.rival_python:
        contestants += [f"lightly/{name}" for name in options.rivals.split(",") if name]
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        data = os.path.join(folder, "images.npz")
        if not options.table:
            np.savez(data, **images_of(options.data))
        runs = [("pixels", 0)]
        runs += [(contestant, int(seed)) for seed in options.seeds.split(",") for contestant in contestants]
        for contestant, seed in [] if options.table else runs:
            known = identity(contestant, options, seed)
            if not any(known.items() <= one.items() for one in read(options.output)):
                record = of_pixels(options, data) if contestant == "pixels" else run(contestant, options, data, seed)
                with open(options.output, "a", encoding="utf-8") as file:
                    file.write(json.dumps(record) + "\n")
    wanted = {"data": options.data.name, "minutes": options.minutes, "threads": options.threads}
    wanted["clock"] = options.clock
    records = [one for one in read(options.output) if wanted.items() <= one.items()]
    print(table(records))
    print(time_ratio(records))
    if options.picture and records:
        picture(records, options.picture, options.title)


if __name__ == "__main__":
    main()
