"""A run of `record.py` with this library: a recipe, trained by the clock, its features written down on the way."""

import argparse
import json
import os
import pathlib
import time

BEGUN = time.monotonic()

import numpy as np  # noqa: E402
from record import MEASURED, POINTS  # noqa: E402


def config_of(options, size):
    from absl import flags as absl_flags

    from tfcontrastive import flags
    from tfcontrastive.config import TrainConfig
    from tfcontrastive.methods import config_class

    left = options.minutes - (time.monotonic() - BEGUN) / 60
    argv = [
        *flags.expand([f"--recipe={options.name}"]),
        f"--image_size={size}", f"--seed={options.seed}", f"--train_minutes={left:.3f}",
        f"--model_dir={options.folder}/run", "--knn_epochs=0", "--checkpoint_epochs=1000", *options.flags.split(),
    ]  # fmt: skip
    method = flags.peek(argv, "method", "simclr")
    base, values = TrainConfig(method=method, method_config=config_class(method)()), absl_flags.FlagValues()
    flags.define(base, values)
    flags.parse(argv, values)
    return flags.from_flags(base, values)


def main():
    parser = argparse.ArgumentParser()
    for name, kind in (("name", str), ("data", str), ("folder", str), ("flags", str), ("seed", int), ("threads", int)):
        parser.add_argument(f"--{name}", type=kind)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--width", type=float)  # of the rival's network
    options = parser.parse_args()

    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as the command line has it
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    import keras

    from tfcontrastive import data, evaluate
    from tfcontrastive.runs.pretrain import train

    held = np.load(options.data)
    splits = {name: held[f"{name}_images"] for name in ("train", "test")}
    size = splits["train"].shape[1]
    source = data.ArraySource({"train": (splits["train"], None)}, name="record")
    measured = data.ArraySource({name: (images[:MEASURED], None) for name, images in splits.items()}, name="measured")
    points = []

    class Curve(keras.callbacks.Callback):
        """Writes features at the points of the training; what that costs is no part of it."""

        stopped, step, steps = 0.0, 0, None

        def on_train_batch_end(self, batch, logs=None):
            self.step += 1
            if self.steps is None:
                config = json.loads(pathlib.Path(options.folder, "run", "config.json").read_text())
                self.steps = [max(1, round(share * config["loop"]["train_steps"])) for share in POINTS]
            if self.step in self.steps:
                now = time.monotonic()
                points.append({"seconds": now - begun - self.stopped, "steps": self.step})
                extract = evaluate.FeatureExtractor(self.model.encoder)
                rows = {
                    name: extract(data.eval_batches(measured, name, batch_size=256, image_size=size))[0]
                    for name in splits
                }
                np.savez(f"{options.folder}/{len(points) - 1}.npz", **rows)
                self.stopped += time.monotonic() - now

    begun = BEGUN
    result = train(config_of(options, size), source=source, callbacks=[Curve()])
    facts = {
        "points": points,
        "batch": result.config.loop.train_batch_size,
        "parameters": result.model.encoder.count_params(),
    }
    facts |= {"method": result.config.method, "precision": result.config.loop.mixed_precision}
    pathlib.Path(options.folder, "facts.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
