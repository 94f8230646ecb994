"""Whole steps in float64 against the same step written out: forward, gradient, optimizer, statistics and targets.

In float64 nothing hides behind rounding: what differs by more than 1e-10 is another computation.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcontrastive
from tfcontrastive.encoders import MLP, BatchNorm, ProjectionHead, ViT
from tfcontrastive.encoders.attention import SelfAttention
from tfcontrastive.encoders.tokens import Tokens
from tfcontrastive.methods import METHODS

SIZE, BATCH, STEPS = 8, 6, 2
RATE, MOMENTUM, DECAY, ETA = 0.125, 0.75, 2.0**-6, 0.5  # exact in float32, in which Keras keeps the rate


pytestmark = pytest.mark.usefixtures("double")


def views(step):
    return tuple(np.random.default_rng(step).random((2, BATCH, SIZE, SIZE, 3)))


def conv_encoder():
    x = images = keras.Input((SIZE, SIZE, 3), dtype="float64")
    for filters in (4, 6):
        x = layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.ReLU()(BatchNorm()(x))
    return keras.Model(images, layers.GlobalAveragePooling2D()(x))


def randomize(model):
    """Weights of clear size, so that no gradient vanishes; targets are others than their online parts."""
    rng = np.random.default_rng(0)
    for part in (model.encoder, *[part for part in model.layers if isinstance(part, (MLP, ProjectionHead))]):
        for variable in part.trainable_variables:
            variable.assign((variable.name == "gamma") + 0.4 * rng.standard_normal(variable.shape))
    for target, _ in model.targets:
        for variable in target.trainable_variables:
            variable.assign(variable + 0.1 * rng.standard_normal(variable.shape))


class Slow:
    """The networks again, from their weights; `values` holds a tensor for each variable, `moments` what batch norm saw."""

    def __init__(self, variables):
        self.values = {id(variable): tf.constant(np.asarray(variable)) for variable in variables}
        self.moments = []

    def of(self, variable):
        return self.values[id(variable)]

    def norm(self, x, layer):
        axes = list(range(len(x.shape) - 1))
        mean = tf.reduce_mean(x, axes)
        variance = tf.reduce_mean((x - mean) ** 2, axes)
        self.moments.append((layer, mean, variance))
        y = (x - mean) / tf.sqrt(variance + layer.epsilon)
        y = y * self.of(layer.gamma) if layer.gamma is not None else y
        return y + self.of(layer.beta) if layer.beta is not None else y

    def layer_norm(self, x, layer):
        mean = tf.reduce_mean(x, -1, keepdims=True)
        variance = tf.reduce_mean((x - mean) ** 2, -1, keepdims=True)
        return (x - mean) / tf.sqrt(variance + layer.epsilon) * self.of(layer.gamma) + self.of(layer.beta)

    def dense(self, x, layer):
        y = tf.einsum("...i,ij->...j", x, self.of(layer.kernel))
        return y + self.of(layer.bias) if layer.use_bias else y

    def head(self, x, head):
        if isinstance(head, ProjectionHead):
            for i, (dense, norm) in enumerate(zip(head.denses, head.norms, strict=True)):
                x = self.norm(self.dense(x, dense), norm)
                x = tf.maximum(x, 0) if i < len(head.denses) - 1 else x
            return x
        for part in head.parts:
            if isinstance(part, layers.ReLU):
                x = tf.maximum(x, 0)
            else:
                x = self.norm(x, part) if isinstance(part, BatchNorm) else self.dense(x, part)
        return x

    def convolutions(self, x, encoder):
        for layer in encoder.layers:
            if isinstance(layer, layers.Conv2D):
                x = tf.nn.conv2d(x, self.of(layer.kernel), 2, "SAME")
            elif isinstance(layer, BatchNorm):
                x = tf.maximum(self.norm(x, layer), 0)
        return tf.reduce_mean(x, [1, 2])

    def transformer(self, x, encoder):
        size, at = 4, encoder.get_layer
        embed, tokens = at("patch_embed"), next(layer for layer in encoder.layers if isinstance(layer, Tokens))
        rows = x.shape[0]
        patches = tf.reshape(
            tf.transpose(tf.reshape(x, [rows, 2, size, 2, size, 3]), [0, 1, 3, 2, 4, 5]), [rows, 4, -1]
        )
        x = patches @ tf.reshape(self.of(embed.kernel), [size * size * 3, -1]) + self.of(embed.bias)
        width = x.shape[-1]
        omega = 10_000.0 ** (-np.arange(width // 4) * 4 / width)
        places = [[f(p * w) for p, f in ((r, np.sin), (r, np.cos), (c, np.sin), (c, np.cos)) for w in omega]
                  for r in range(2) for c in range(2)]  # fmt: skip
        first = tf.broadcast_to(self.of(tokens.class_token), [rows, 1, width])
        x = tf.concat([first, x + np.array(places)], axis=1)
        attention = at("block1_attention")
        assert isinstance(attention, SelfAttention)
        q, k, v = tf.split(self.dense(self.layer_norm(x, at("block1_norm1")), attention.qkv), 3, axis=-1)
        heads = []
        for i in range(attention.num_heads):
            part = slice(i * width // attention.num_heads, (i + 1) * width // attention.num_heads)
            scores = tf.einsum("bnd,bmd->bnm", q[..., part], k[..., part]) / (width / attention.num_heads) ** 0.5
            odds = tf.exp(scores)
            heads.append(tf.einsum("bnm,bmd->bnd", odds / tf.reduce_sum(odds, -1, keepdims=True), v[..., part]))
        x += self.dense(tf.concat(heads, axis=-1), attention.proj)
        y = self.dense(self.layer_norm(x, at("block1_norm2")), at("block1_fc1"))
        y = y * 0.5 * (1 + tf.math.erf(y * np.float64(np.float32(np.sqrt(0.5)))))  # tf.nn.gelu rounds its constant
        x += self.dense(y, at("block1_fc2"))
        return self.layer_norm(x, at("norm"))[:, 0]


def unit(x):
    return x / tf.sqrt(tf.reduce_sum(x * x, 1, keepdims=True))


def cross_entropy(logits, right):
    return tf.math.log(tf.reduce_sum(tf.exp(logits))) - logits[right]


def slow_simclr(slow, model, both):
    z = unit(slow.head(slow.convolutions(both, model.encoder), model.projection_head))
    terms = []
    for i in range(2 * BATCH):
        others = [k for k in range(2 * BATCH) if k != i]
        logits = tf.stack([tf.reduce_sum(z[i] * z[k]) / model.config.temperature for k in others])
        terms.append(cross_entropy(logits, others.index((i + BATCH) % (2 * BATCH))))
    return tf.add_n(terms) / len(terms)


def slow_moco_v3(slow, model, both):
    q = unit(slow.head(slow.head(slow.transformer(both, model.encoder), model.projection_head), model.predictor))
    k = unit(slow.head(slow.transformer(both, model.target_encoder), model.target_head))
    k, temperature, terms = tf.stop_gradient(k), model.config.temperature, []
    for i in range(2 * BATCH):
        keys = k[BATCH:] if i < BATCH else k[:BATCH]
        terms.append(cross_entropy(tf.stack([tf.reduce_sum(q[i] * key) / temperature for key in keys]), i % BATCH))
    return 2 * temperature * tf.add_n(terms) / BATCH


def lars(weight, gradient, velocity, plain):
    """One step as arXiv 1708.03888 has it; `plain` weights are neither decayed nor adapted."""
    ratio = 1.0
    if not plain:
        gradient = gradient + DECAY * weight
        ratio = ETA * np.linalg.norm(weight) / np.linalg.norm(gradient)
    velocity = MOMENTUM * velocity + RATE * ratio * gradient
    return weight - velocity, velocity


CASES = {
    "simclr": (slow_simclr, conv_encoder, {"temperature": 0.5, "num_proj_layers": 2, "proj_out_dim": 4}),
    "moco_v3": (
        slow_moco_v3,
        lambda: ViT(width=8, depth=1, num_heads=2, patch_size=4, input_shape=(SIZE, SIZE, 3)),
        {"temperature": 0.5, "hidden_dim": 6, "proj_out_dim": 4, "predictor_last_norm": True, "target_momentum": 0.75},
    ),
}


@pytest.mark.parametrize("method", CASES)
def test_a_step_in_float64_is_the_one_that_is_written_out(method):
    slow_loss, encoder, settings = CASES[method]
    keras.utils.set_random_seed(0)
    model = METHODS[method](encoder(), METHODS[method].Config(**settings))
    randomize(model)
    model.compile(tfcontrastive.LARS(RATE, momentum=MOMENTUM, weight_decay=DECAY, eta=ETA))
    assert {variable.dtype for variable in model.variables if "seed" not in variable.path} == {"float64"}
    velocities = {id(variable): 0.0 for variable in model.trainable_variables}
    pairs = [pair for target, online in model.targets for pair in zip(target.variables, online.variables, strict=True)]
    targets = {id(copy): variable for copy, variable in pairs if "moving" not in copy.path}
    for step in range(STEPS):
        slow, trained = Slow(model.variables), model.trainable_variables
        expected = {key: value.numpy() for key, value in slow.values.items()}
        with tf.GradientTape() as tape:
            tape.watch([slow.of(variable) for variable in trained])
            loss = slow_loss(slow, model, tf.constant(np.concatenate(views(step))))
        gradients = tape.gradient(loss, [slow.of(variable) for variable in trained])
        for variable, gradient in zip(trained, gradients, strict=True):
            key, plain = id(variable), variable.name in ("gamma", "beta", "bias", "class_token")
            expected[key], velocities[key] = lars(expected[key], gradient.numpy(), velocities[key], plain)
        for layer, mean, variance in slow.moments:
            for moving, value in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
                rate = layer.momentum
                expected[id(moving)] = rate * expected[id(moving)] + (1 - rate) * value.numpy()
        for copy, online in targets.items():
            expected[copy] = 0.75 * expected[copy] + 0.25 * expected[id(online)]
        history = model.fit(tf.data.Dataset.from_tensors(views(step)), verbose=0).history
        np.testing.assert_allclose(history["loss"][0], loss, rtol=1e-12)
        metrics = {id(variable) for metric in model.metrics for variable in metric.variables}
        for variable in model.variables:
            if id(variable) not in metrics:
                found, right = np.asarray(variable), expected[id(variable)]
                size = max(np.abs(right).max(), 1e-3)
                np.testing.assert_allclose(found, right, atol=1e-10 * size, rtol=1e-10, err_msg=variable.path)


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_part_of_a_float64_model_is_float64_and_replicas_agree_in_it(method, two_replicas):
    small = {
        "moco": {"queue_size": 12},
        "nnclr": {"queue_size": 12},
        "swav": {"queue_size": 12, "num_prototypes": 5},
        "dino": {"num_prototypes": 5, "koleo_weight": 0.1},
        "simclr": {"memory_size": 24},
        "jigsaw": {"num_permutations": 4},
        "pirl": {"bank_size": 12, "num_negatives": 4},
        "cmc": {"bank_size": 12, "num_negatives": 4},
        "instdisc": {"bank_size": 12, "num_negatives": 4},
        "deepcluster_v2": {"bank_size": 12, "num_prototypes": 3, "clustering_steps": 1},
        "cpc": {"patch_side": 4, "patch_stride": 2, "first_offset": 1, "last_offset": 1, "context_dim": 6},
        "local_aggregation": {"bank_size": 12, "num_neighbours": 5, "num_clusters": 3, "instance_steps": 1},
    }
    widths = {"proj_out_dim": 4, "hidden_dim": 6, "critic_hidden_dim": 16, "predictor_hidden_dim": 5}
    known = METHODS[method].Config.__dataclass_fields__
    settings = {name: value for name, value in {**widths, **small.get(method, {})}.items() if name in known}

    def losses():
        keras.utils.set_random_seed(0)
        model = tfcontrastive.build(method, conv_encoder(), num_classes=2, **settings)
        randomize(model)  # no dead unit, whose rounding batch norm would magnify
        model.compile(keras.optimizers.SGD(0.125))
        assert {v.dtype for v in model.variables if v.dtype.startswith("float")} == {"float64"}
        batch = {"views": views(0), "label": np.arange(BATCH) % 2, "index": np.arange(BATCH)}
        data = tf.data.Dataset.from_tensors(batch).repeat(2)
        return model.fit(data, verbose=0).history["loss"] + [np.array(model.evaluate(data, verbose=0)[0])]

    alone = losses()
    with two_replicas.scope():
        tf.config.run_functions_eagerly(
            "index" not in METHODS[method].batch_keys
        )  # whole numbers are gathered in graphs
        np.testing.assert_allclose(losses(), alone, rtol=1e-10)
