"""What each layer of a method's encoder is worth as it trains: kNN by block group, and why `jigsaw` learns little.

    python benchmarks/layers.py --method=jigsaw --steps=234 --flags=--tile_size=9

Trains the recipe `embedded_NAME` for some steps, and after each epoch measures kNN (k=50, T=0.1) of 4,000 training images
for the 2,000 test images by the mean of each block group's maps: with the moving statistics of batch norm, with statistics
of whole images, and at the end with the 3 x 3 kernels of the last group cut to their middle weights.
"""

import argparse
import tempfile

import numpy as np
from machine import machine
from methods import config_of, of_length, recipe_words

MEMORY = 4_000


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="jigsaw", help="a recipe, without `embedded_`")
    parser.add_argument("--steps", type=int, default=234)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--flags", default="", help="more flags of `tfcontrastive train`, with spaces between them")
    options = parser.parse_args()
    print(machine())

    import keras
    import tensorflow as tf

    from tfcontrastive import data, evaluate
    from tfcontrastive.runs.pretrain import train

    source = data.load("embedded")
    (memory, labels), (queries, right) = source.arrays("train"), source.arrays("test")
    memory, labels = memory[:MEMORY].astype(np.float32) / 255, labels[:MEMORY]
    queries = queries.astype(np.float32) / 255

    def measure(title, encoder):
        """Prints kNN by layer."""
        groups = {f"block_group{number}": encoder.get_layer(f"block_group{number}").output for number in range(1, 5)}
        network = keras.Model(encoder.inputs, {**groups, "features": encoder.outputs[0]})

        def features(images):
            parts = [network(tf.constant(images[i : i + 500]), training=False) for i in range(0, len(images), 500)]
            joined = {name: np.concatenate([tf.cast(part[name], tf.float32) for part in parts]) for name in parts[0]}
            return {name: value.mean(axis=(1, 2)) if value.ndim == 4 else value for name, value in joined.items()}

        stored, asked, told = features(memory), features(queries), []
        for name in stored:
            held = evaluate.LabelledFeatures(stored[name], labels, asked[name], right, 10)
            told.append(f"{name} {100 * evaluate.KNN(k=50, temperature=0.1).measure(held)['knn_top1']:.1f}")
        print(f"{title}: {', '.join(told)}", flush=True)

    def settle(encoder):
        batches = (tf.constant(memory[start : start + 128]) for start in range(0, 2_560, 128))
        evaluate.settle_statistics(encoder, batches)

    class Layers(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            encoder, last = self.model.encoder, (epoch + 1) * 78 >= options.steps
            measure(f"epoch {epoch + 1}, moving statistics", encoder)
            kept = [variable.numpy() for variable in encoder.variables]
            settle(encoder)
            measure(f"epoch {epoch + 1}, statistics of whole images", encoder)
            if last:
                for kernel in encoder.trainable_variables:
                    if kernel.path.startswith("block_group4") and kernel.shape[:2] == (3, 3):
                        middle = np.zeros(kernel.shape, np.float32)
                        middle[1, 1] = kernel.numpy()[1, 1]
                        kernel.assign(middle)
                settle(encoder)
                measure("the middle weights of group 4's kernels alone", encoder)
            for variable, value in zip(encoder.variables, kept, strict=True):
                variable.assign(value)

        def on_train_begin(self, logs=None):
            if not int(self.model.optimizer.iterations.numpy()):
                kept = [variable.numpy() for variable in self.model.encoder.variables]
                settle(self.model.encoder)
                measure("untrained, statistics of whole images", self.model.encoder)
                for variable, value in zip(self.model.encoder.variables, kept, strict=True):
                    variable.assign(value)

    words = of_length(recipe_words(options.method, tuple(options.flags.split())), options.steps)
    with tempfile.TemporaryDirectory() as directory:
        train(config_of(words, options.seed, directory), callbacks=[Layers()])


if __name__ == "__main__":
    main()
