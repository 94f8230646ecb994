"""How DINO starts: what two views have in common, and the entropy of the teacher's softmax over the first steps.

    python benchmarks/dino_start.py --steps=60 --flags="--train_batch_size=64 --teacher_temperature=0.01"

Of the untrained network, over one batch of `embedded_dino`: the spread of the outputs over images beside that of their mean,
and the share of it that is common to two views of an image. Then its entropy and loss every ten steps; log K is uniform.
"""

import argparse
import tempfile

import numpy as np
from machine import machine
from methods import config_of, of_length, recipe_words


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60, help="0: only the untrained network")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--flags", default="", help="more flags of `tfcontrastive train`, with spaces between them")
    options = parser.parse_args()
    print(machine())

    import keras
    import tensorflow as tf

    from tfcontrastive.runs.pretrain import first_views, pretraining

    words = recipe_words("dino", tuple(options.flags.split()))
    with tempfile.TemporaryDirectory() as directory:
        config = config_of(of_length(words, options.steps) if options.steps else words, options.seed, directory)
        prepared = pretraining(config).prepare()
        model, batches = prepared.model, prepared.batches(0)
        outputs = []
        for images in first_views(model, batches, config.loop.train_batch_size)[:2]:
            features = model.encode(model.encoder, images, True)
            outputs.append(
                tf.cast(model.prototypes(model.projection_head(features, training=True)), tf.float32).numpy()
            )
        mean = np.concatenate(outputs).mean(axis=0)
        one, two = (rows - mean for rows in outputs)
        common = 2 * (one * two).sum() / ((one**2).sum() + (two**2).sum())
        spread = np.concatenate(outputs).std(axis=0).mean()
        print(f"outputs over images: {spread:.3f}, of their mean: {mean.std():.3f}, common to two views: {common:.1%}")
        print(f"log K: {np.log(len(mean)):.2f}")

        class Entropy(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                if (batch + 1) % 10 == 0:
                    print(
                        f"step {batch + 1}: entropy {logs['teacher_entropy']:.2f}, loss {logs['loss']:.2f}", flush=True
                    )
                    self.model.reset_metrics()

        if options.steps:
            model.fit(batches.take(options.steps), verbose=0, shuffle=False, callbacks=[Entropy()])


if __name__ == "__main__":
    main()
