"""A run of `record.py` with this library: a recipe, trained by the clock, its features written down on the way."""

import argparse
import dataclasses
import json
import os
import pathlib
import time

BEGUN = {"wall": time.monotonic(), "processor": time.process_time()}

import numpy as np  # noqa: E402
from record import MEASURED, POINTS  # noqa: E402

NOW = {"wall": time.monotonic, "processor": time.process_time}


def config_of(options, size):
    from absl import flags as absl_flags

    from tfcontrastive import flags
    from tfcontrastive.config import TrainConfig
    from tfcontrastive.methods import config_class

    argv = [
        *flags.expand([f"--recipe={options.name}"]),
        f"--image_size={size}", f"--seed={options.seed}", "--train_minutes=0",
        f"--model_dir={options.folder}/run", "--knn_epochs=0", "--checkpoint_epochs=1000", *options.flags.split(),
    ]  # fmt: skip
    method = flags.peek(argv, "method", "simclr")
    base, values = TrainConfig(method=method, method_config=config_class(method)()), absl_flags.FlagValues()
    flags.define(base, values)
    flags.parse(argv, values)
    return flags.from_flags(base, values)


def with_steps(config, source, options):
    """The config with the steps that fit into the minutes, by the clock that is asked for."""
    from tfcontrastive.runs.minutes import steps_of
    from tfcontrastive.runs.pace import Pace, measure_pace

    wall, processor = time.monotonic(), time.process_time()
    config, pace = measure_pace(config, source)
    share = 1.0
    if options.clock == "processor":
        share = (time.process_time() - processor) / (time.monotonic() - wall)
    spent = NOW[options.clock]() - BEGUN[options.clock]
    steps = steps_of(options.minutes, Pace(share * pace.compile_seconds, share * pace.step_seconds), spent=spent)
    epochs = steps * config.loop.train_batch_size / source.num_examples("train")
    optimizer = dataclasses.replace(config.optimizer, warmup_epochs=epochs / 10)
    return dataclasses.replace(config, loop=dataclasses.replace(config.loop, train_steps=steps), optimizer=optimizer)


def main():
    parser = argparse.ArgumentParser()
    for name, kind in (("name", str), ("data", str), ("folder", str), ("flags", str), ("seed", int), ("threads", int)):
        parser.add_argument(f"--{name}", type=kind)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--width", type=float)  # of the rival's network
    parser.add_argument("--clock")
    options = parser.parse_args()
    now_of = NOW[options.clock]

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
                images = {
                    name: data.eval_batches(measured, name, batch_size=256, image_size=size, limit=MEASURED)
                    for name in splits
                }
                before = now_of()
                evaluate.settle_whitening(self.model.encoder, images["train"])  # as if the run ended here
                now = now_of()
                points.append({"seconds": now - begun - self.stopped, "steps": self.step})
                self.stopped += now - before if self.step < self.steps[-1] else 0.0
                extract = evaluate.FeatureExtractor(self.model.encoder)
                rows = {name: extract(images[name])[0] for name in splits}
                np.savez(f"{options.folder}/{len(points) - 1}.npz", **rows)
                self.stopped += now_of() - now

    begun = BEGUN[options.clock]
    result = train(with_steps(config_of(options, size), source, options), source=source, callbacks=[Curve()])
    facts = {
        "points": points,
        "batch": result.config.loop.train_batch_size,
        "parameters": result.model.encoder.count_params(),
    }
    facts |= {"method": result.config.method, "precision": result.config.loop.mixed_precision}
    pathlib.Path(options.folder, "facts.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
