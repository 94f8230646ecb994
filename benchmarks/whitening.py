"""What whitened features are worth by the epsilon of their whitening, with many images and few, and in eight bits.

    tfcontrastive train --recipe=record_5min --train_minutes=0 --train_steps=1000 --train_split=train[:80%] \\
        --dataset=npz:photos.npz --image_size=32 --knn_epochs=0 --model_dir=runs/photos
    python benchmarks/whitening.py --run=runs/photos --dataset=npz:photos.npz

The encoder's whitening is fitted again, on --images images of train[:80%] and with each epsilon, and the images of
train[80%:] are measured: nothing is trained, and no test image seen. See `record_sets.py` for the sets. A row: kNN (k=200,
or as many as the smallest class has; T=0.1), kNN with k=20, a linear probe; then the mean cosine of LiteRT's vectors to the
SavedModel's, of 256 known images. The second table: kNN (k=20) where so many images are all that is known.
"""

import argparse
import tempfile

import numpy as np
from machine import machine

FEW = (100, 300, 1000, 3000)


def images_of(name: str, count: int):
    """Known and held-out images with labels, `count` of each, and both as a source of their own."""
    from tfcontrastive import data

    source, chosen, order = data.load(name), {}, np.random.default_rng(0)
    for split, of in (("train", "train[:80%]"), ("test", "train[80%:]")):
        images, labels = source.arrays(of)
        rows = order.permutation(len(images))[:count]
        chosen[split] = images[rows], labels[rows].astype(np.int64)
    return chosen, data.ArraySource({split: (images, None) for split, (images, _) in chosen.items()}, name="measured")


def features_of(encoder, source, size: int, count: int) -> dict[str, np.ndarray]:
    from tfcontrastive import data, evaluate

    extract = evaluate.FeatureExtractor(encoder)
    return {
        split: extract(data.eval_batches(source, split, batch_size=256, image_size=size, limit=count))[0]
        for split in source.splits
    }


def accuracies(known, known_labels, held, held_labels, neighbours, *, linear: bool) -> list[str]:
    """kNN accuracy by each k, then the linear probe's."""
    from tfcontrastive import evaluate

    classes = int(max(known_labels.max(), held_labels.max())) + 1
    features = evaluate.LabelledFeatures(known, known_labels, held, held_labels, classes)
    found = [evaluate.KNN(k=k, temperature=0.1).measure(features)["knn_top1"] for k in neighbours]
    if linear:
        found.append(evaluate.Linear(seed=0).measure(features)["linear_top1"])
    return [f"{100 * value:.1f}" for value in found]


def in_eight_bits(encoder, images: np.ndarray) -> list[str]:
    """The mean cosines of the vectors of LiteRT's files; what is refused says so."""
    from tfcontrastive import export
    from tfcontrastive.config import InputError

    found, size = [], images.shape[1]
    with tempfile.TemporaryDirectory() as folder:
        saved = export.save_model(encoder, folder, image_size=size)
        for quantize in ("dynamic", "int8_mixed", "int8"):
            path = f"{folder}/{quantize}.tflite"
            try:
                done = export.to_tflite(saved, path, image_size=size, quantize=quantize, images=images)
                found.append(f"{done.cosine_similarity:.4f}")
            except InputError as error:
                found.append("refused: " + str(error).partition("Received: ")[2].partition(". ")[0])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True, help="a --model_dir of --whiten_features=true")
    parser.add_argument("--dataset", required=True, help="what it was trained on")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--epsilons", default="0.1,0.3,1,3")
    parser.add_argument("--nolinear", action="store_true", help="of several hundred classes a probe takes minutes")
    options = parser.parse_args()

    import tensorflow as tf

    from tfcontrastive.encoders import whitening as rule
    from tfcontrastive.runs.load_run import load_run

    print(machine())
    encoder = load_run(options.run).model.encoder
    layer, epsilons = rule.whitening_of(encoder), [float(value) for value in options.epsilons.split(",")]
    (chosen, source), linear = images_of(options.dataset, options.images), not options.nolinear
    (known, known_labels), (_, held_labels) = chosen["train"], chosen["test"]
    found = features_of(rule.before_whitening(encoder), source, known.shape[1], options.images)

    def features(epsilon: float | None, count: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Of the first `count` known images, by which they are whitened, and of those held out."""
        if epsilon is None:
            return found["train"][:count], found["test"]
        rule.SHRINKAGE = epsilon
        layer.fit(found["train"][:count])
        return layer(tf.constant(found["train"][:count])).numpy(), layer(tf.constant(found["test"])).numpy()

    most = min(200, int(np.bincount(known_labels).min()))
    print("| epsilon | kNN | k=20 | linear | dynamic | int8_mixed | int8 |\n|---|---|---|---|---|---|---|")
    for epsilon in (None, *epsilons):
        of_known, of_held = features(epsilon)
        row = accuracies(of_known, known_labels, of_held, held_labels, (most, 20), linear=linear)
        row += [""] * (not linear)
        row += ["", "", ""] if epsilon is None else in_eight_bits(encoder, known[:256].astype(np.float32) / 255)
        print(f"| {'as they are' if epsilon is None else epsilon} | {' | '.join(row)} |", flush=True)

    print(f"\n| images known | as they are | {' | '.join(map(str, epsilons))} |\n|---|---|{'---|' * len(epsilons)}")
    for count in FEW:
        row = []
        for epsilon in (None, *epsilons):
            of_known, of_held = features(epsilon, count)
            row += accuracies(of_known, known_labels[:count], of_held, held_labels, (min(20, count),), linear=False)
        print(f"| {count:,} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
