"""Each method's loss, gradient and memories against a slow computation in float64.

The encoder is one linear map, so that the whole network can be written down here again: which network makes what, from
which view, in whose batch statistics, and where gradients stop. Gradients are compared along random directions of each
weight with differences of the slow loss, in which targets and memories stay as they were.
"""

import importlib
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.losses import oracles
from tfcontrastive import augment, losses
from tfcontrastive.encoders import BatchNorm, ChannelTowers, DINOHead
from tfcontrastive.methods import METHODS

BATCH, SIZE, FEATURES = 6, 2, 5
LEARNING_RATE = 0.1
moco_module = importlib.import_module("tfcontrastive.methods.moco")  # of the name there is a function beside it


def linear_encoder(norm=False, channels=1):
    images = keras.Input((SIZE, SIZE, channels))
    x = keras.layers.Dense(FEATURES, use_bias=False, name="map")(keras.layers.Flatten()(images))
    return keras.Model(images, BatchNorm(synchronized=False, name="norm")(x) if norm else x)


def pooled_encoder():
    """For images of any size."""
    images = keras.Input((None, None, 1))
    pooled = keras.layers.GlobalAveragePooling2D()(images)
    return keras.Model(images, keras.layers.Dense(FEATURES, use_bias=False, name="map")(pooled))


def make(method, encoder=None, seed=0, **settings):
    """A model whose weights, targets included, all are random and different."""
    keras.utils.set_random_seed(seed)
    kind = METHODS[method]
    options = {"global_bn": False} if encoder is not None else {}
    model = kind(encoder or linear_encoder(), kind.Config(**settings), **options)
    rng = np.random.default_rng(seed)
    names = ("predictor", "prototypes", "tile_head", "joint_head", "first_head", "second_head")
    heads = [getattr(model, name, None) for name in names]
    pairs = [
        model.encoder,
        model.projection_head,
        getattr(model, "classifier", None),
        *heads,
        *(t for t, _ in model.targets),
    ]
    for part in pairs:
        for variable in getattr(part, "trainable_variables", ()):
            offset = 1.0 if variable.name == "gamma" else 0.0
            variable.assign(offset + 0.5 * rng.standard_normal(variable.shape))
    model.compile(optimizer=keras.optimizers.SGD(LEARNING_RATE))
    return model


def views(seed=0, batch=BATCH, shape=(SIZE, SIZE, 1)):
    return list(np.random.default_rng(seed).standard_normal((2, batch, *shape)).astype(np.float32))


class Slow:
    """The model's networks in float64 numpy; `moved` replaces one weight."""

    def __init__(self, model, moved=None):
        self.model, self.moved = model, moved

    def weight(self, variable):
        if variable is not None and self.moved is not None and variable is self.moved[0]:
            return self.moved[1]
        return np.asarray(variable, np.float64)

    def norm(self, x, layer):
        y = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + layer.epsilon)
        y = y * self.weight(layer.gamma) if layer.gamma is not None else y
        return y + self.weight(layer.beta) if layer.beta is not None else y

    def encode(self, images, network=None):
        network = network or self.model.encoder
        if isinstance(network, ChannelTowers):
            masks = [[float(c in group) for c in range(images.shape[-1])] for group in network.groups]
            towers = zip(masks, (network.first, network.second), strict=True)
            return np.concatenate([self.encode(images * np.array(mask), tower) for mask, tower in towers], axis=1)
        layers = network.layers
        pooled = any(isinstance(layer, keras.layers.GlobalAveragePooling2D) for layer in layers)
        x = images.astype(np.float64)
        x = x.mean(axis=(1, 2)) if pooled else x.reshape(len(images), -1)
        for layer in layers:
            if isinstance(layer, keras.layers.Dense):
                x = x @ self.weight(layer.kernel)
            elif isinstance(layer, BatchNorm):
                x = self.norm(x, layer)
        return x

    def head(self, x, head=None):
        head = head or self.model.projection_head
        if isinstance(head, DINOHead):
            for number, dense in enumerate(head.parts):
                x = x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2 if number else x
                x = x @ self.weight(dense.kernel) + self.weight(dense.bias)
            return unit(x)
        if hasattr(head, "denses"):  # SimCLR's
            parts = [part for pair in zip(head.denses, head.norms, strict=True) for part in (*pair, "relu")][:-1]
        else:
            parts = ["relu" if isinstance(part, keras.layers.ReLU) else part for part in head.parts]
        for part in parts:
            if part == "relu":
                x = np.maximum(x, 0)
            elif isinstance(part, BatchNorm):
                x = self.norm(x, part)
            else:
                x = x @ self.weight(part.kernel)
                x = x + self.weight(part.bias) if part.use_bias else x
        return x

    def online(self, images):
        return self.head(self.encode(images))

    def predicted(self, images):
        return self.head(self.online(images), self.model.predictor)

    def target(self, images):
        return self.head(self.encode(images, self.model.target_encoder), self.model.target_head)


def halves(rows):
    return rows[: len(rows) // 2], rows[len(rows) // 2 :]


# One function for each case: the slow loss of two views. Rows of both views go through a network together, so that batch
# statistics are those of both. `still` has the weights as they were: it makes what takes no gradient.


def simclr(slow, still, v1, v2):
    z1, z2 = halves(slow.online(np.concatenate([v1, v2])))
    inputs = {"z1": z1, "z2": z2}
    if still.model.config.memory_size:
        inputs["memory"] = np.asarray(still.model.memory.rows)
    config = still.model.config
    return oracles.nt_xent(inputs, inputs, temperature=config.temperature, normalize=config.hidden_norm)


def moco(slow, still, v1, v2):
    queue = np.asarray(still.model.queue.rows)
    fixed = {"keys": still.target(v2), "queue": queue}
    return oracles.info_nce({"queries": slow.online(v1)}, fixed, temperature=still.model.config.temperature)


def moco_tiles(slow, still, v1, v2):
    model, config, queue = still.model, still.model.config, np.asarray(still.model.queue.rows)
    vectors = slow.head(slow.encode(tiles(v2).reshape(-1, 3, 3, 1)), model.tile_head).reshape(len(v2), 9, -1)
    order = np.argsort(puzzle_draws(v1, 9, 0, views=1), axis=1)
    t = slow.head(np.stack([own[places].ravel() for own, places in zip(vectors, order, strict=True)]), model.joint_head)
    fixed = {"keys": still.target(v2), "queue": queue}
    image, of_tiles = (
        oracles.info_nce({"queries": x}, fixed, temperature=config.temperature) for x in (slow.online(v1), t)
    )
    return (1 - config.jigsaw_weight) * image + config.jigsaw_weight * of_tiles


def moco_v3(slow, still, v1, v2):
    images = np.concatenate([v1, v2])
    (q1, q2), (k1, k2) = halves(slow.predicted(images)), halves(still.target(images))
    return oracles.symmetric_info_nce({"q1": q1, "q2": q2}, {"k1": k1, "k2": k2}, temperature=0.5)


def relic(slow, still, v1, v2):
    images, config = np.concatenate([v1, v2]), still.model.config

    def inputs(network):
        z = network.predicted(images) if config.use_target else network.online(images)
        targets = still.target(images) if config.use_target else z
        names = ("z1", "z2", "targets1", "targets2")
        return dict(zip(names, (*halves(z), *halves(targets)), strict=True))

    return oracles.relic(inputs(slow), inputs(still), temperature=config.temperature, alpha=config.alpha)


def relic_v2(slow, still, v1, v2):
    images, config = np.concatenate([v1, v2]), still.model.config

    def inputs(network):
        return dict(zip(("z1", "z2", "t1", "t2"), (*halves(network.predicted(images)), *targets), strict=True))

    targets = halves(still.target(images))
    options = {"temperature": config.temperature, "alpha": config.alpha, "own_pairs": True}
    return oracles.relic_views(inputs(slow), inputs(still), **options)


def byol(slow, still, v1, v2):
    images = np.concatenate([v1, v2])
    (q1, q2), (t1, t2) = halves(slow.predicted(images)), halves(still.target(images))
    pairs = [*zip(q1, t2, strict=True), *zip(q2, t1, strict=True)]
    distances = [np.sum((q / np.linalg.norm(q) - t / np.linalg.norm(t)) ** 2) for q, t in pairs]
    return sum(distances) / len(v1)


def supcon(slow, still, v1, v2):
    embeddings = np.stack(halves(slow.online(np.concatenate([v1, v2]))), axis=1)
    return oracles.sup_con({"embeddings": embeddings, "labels": LABELS}, {}, temperature=0.25)


def barlow_twins(slow, still, v1, v2):
    z1, z2 = halves(slow.online(np.concatenate([v1, v2])))
    return 0.5 * oracles.barlow_twins({"z1": z1, "z2": z2}, {}, off_diagonal_weight=0.05)


def instdisc(slow, still, v1, v2):
    inputs = {"embeddings": slow.online(np.concatenate([v1, v2])), "indices": np.tile(INDEX, 2)}
    return oracles.instance_softmax(inputs, {"bank": np.asarray(still.model.bank)}, temperature=0.3)


def dcl(slow, still, v1, v2):
    z1, z2 = halves(slow.online(np.concatenate([v1, v2])))
    config = still.model.config
    sigma = config.decoupled_sigma if hasattr(config, "decoupled_sigma") else config.sigma
    return oracles.dcl({"z1": z1, "z2": z2}, {}, temperature=config.temperature, sigma=sigma)


def simsiam(slow, still, v1, v2):
    images = np.concatenate([v1, v2])
    (p1, p2), (z1, z2) = halves(slow.predicted(images)), halves(still.online(images))
    return (oracles.negative_cosine({"p": p1}, {"z": z2}) + oracles.negative_cosine({"p": p2}, {"z": z1})) / 2


def vicreg(slow, still, v1, v2):
    z1, z2 = halves(slow.online(np.concatenate([v1, v2])))
    return oracles.vicreg({"z1": z1, "z2": z2}, {}, invariance=10.0, variance=20.0, covariance=3.0)


def nnclr(slow, still, v1, v2):
    images, queue = np.concatenate([v1, v2]), np.asarray(still.model.queue.rows)
    (p1, p2), (z1, z2) = halves(slow.predicted(images)), halves(still.online(images))
    n1, n2 = (queue[np.argmax(unit(z) @ queue.T, axis=1)] for z in (z1, z2))
    directions = ((p2, n1), (p1, n2))
    return sum(oracles.nnclr({"p": p}, {"neighbours": n}, temperature=0.3) for p, n in directions) / 2


def sinkhorn(scores, epsilon=0.05, iterations=3):
    q = np.exp(scores / epsilon)
    for _ in range(iterations):
        q = q / q.sum(axis=0)
        q = q / q.sum(axis=1, keepdims=True)
    return q


def swav(slow, still, v1, v2):
    images, model = np.concatenate([v1, v2]), still.model
    s1, s2 = halves(unit(slow.online(images)) @ slow.weight(model.prototypes).T)
    q1, q2 = (sinkhorn(s) for s in halves(unit(still.online(images)) @ still.weight(model.prototypes).T))
    swapped = ((s1, q2), (s2, q1))
    return sum(oracles.swav({"scores": s}, {"assignments": q}, temperature=0.3) for s, q in swapped) / 2


def deepcluster_v2(slow, still, v1, v2):
    """Of the first steps, which have no clusters yet."""
    images, model, terms = np.concatenate([v1, v2]), still.model, []
    for centroids in np.split(np.asarray(model.centroids, np.float64), model.config.num_clusterings):
        s1, s2 = halves(unit(slow.online(images)) @ centroids.T)
        q1, q2 = (sinkhorn(s) for s in halves(unit(still.online(images)) @ centroids.T))
        swapped = ((s1, q2), (s2, q1))
        terms += [oracles.swav({"scores": s}, {"assignments": q}, temperature=0.3) for s, q in swapped]
    return oracles.mean(terms)


def dino(slow, still, v1, v2):
    images, model = np.concatenate([v1, v2]), still.model
    features = slow.encode(images)

    def outputs(network, x, head, last):
        v = network.weight(last.kernel)
        return network.head(x, head) @ (v / np.linalg.norm(v, axis=0)) * network.weight(last.gain)

    s1, s2 = halves(outputs(slow, features, model.projection_head, model.prototypes))
    seen = still.encode(images, model.target_encoder)
    t1, t2 = halves(outputs(still, seen, model.target_head, model.target_prototypes))
    options = {"student_temperature": 0.3, "teacher_temperature": 0.2}
    fixed = {"center": np.asarray(model.center)}
    terms = [oracles.dino({"student": s}, {**fixed, "teacher": t}, **options) for s, t in ((s1, t2), (s2, t1))]
    return sum(terms) / 2 + 0.1 * sum(oracles.koleo({"x": rows}, {}) for rows in halves(features))


def emp_ssl(slow, still, v1, v2):
    z = [unit(rows) for rows in halves(slow.online(np.concatenate([v1, v2])))]
    center = unit(z[0] + z[1])
    terms = [oracles.total_coding_rate({"z": one}, {}, 0.3) + 5 * np.mean(np.sum(one * center, axis=1)) for one in z]
    return -sum(terms) / 2


def rotation(slow, still, v1, v2):
    images, total = np.concatenate([v1, v2]), []
    for k in range(4):
        logits = slow.head(slow.encode(np.rot90(images, k, axes=(1, 2))), still.model.classifier)
        total += [oracles.cross_entropy(row, k) for row in logits]
    return oracles.mean(total)


def tiles(images, side=3):
    """Those of `[B, 9, 9, 1]`, whose cells they fill: `[B, 9, 3, 3, 1]`, row by row."""
    places = [(side * (k // 3), side * (k % 3)) for k in range(9)]
    return np.stack([images[:, i : i + side, j : j + side] for i, j in places], axis=1)


def puzzle_draws(images, count, place, views=2):
    """What is drawn in the first step for the puzzle of each image of a view."""
    seeds = augment.row_seeds(0, tf.constant(0), tf.range(len(images)), num_views=views)[:, place]
    return augment.uniform(seeds, "order of tiles", count).numpy()


def jigsaw(slow, still, v1, v2):
    model, images = still.model, np.concatenate([v1, v2])
    rows = slow.head(slow.encode(tiles(images).reshape(-1, 3, 3, 1)), model.tile_head)
    vectors = np.maximum(rows, 0).reshape(len(images), 9, -1)
    draws = np.concatenate([puzzle_draws(view, 1, place)[:, 0] for place, view in enumerate((v1, v2))])
    labels = [int(draw * len(model.permutations)) for draw in draws]
    assert len(set(labels)) > 2
    laid = [np.concatenate([own[k] for k in model.permutations[n]]) for own, n in zip(vectors, labels, strict=True)]
    logits = slow.head(np.stack(laid), model.classifier)
    return oracles.mean(oracles.cross_entropy(row, n) for row, n in zip(logits, labels, strict=True))


def of_bank(model, embeddings, index, rows, noise):
    """A contrastive loss by the method's settings; NCE's constant is that of this batch."""
    inputs, fixed, temperature = {"embeddings": embeddings, "indices": index}, {"bank": rows}, model.config.temperature
    if noise is None:
        return oracles.instance_softmax(inputs, fixed, temperature=temperature)
    return oracles.instance_info_nce({**inputs, "noise": noise}, fixed, temperature=temperature)


def drawn_noise(model, count, views=1):
    """What is drawn in the first step, image by image; the second view's after the first's."""
    if not model.config.num_negatives:
        return None
    shape = [views, len(INDEX), count]
    everyone = tf.random.stateless_uniform(shape, seed=[0, 0], maxval=model.config.bank_size, dtype=tf.int32)
    return everyone.numpy().reshape(-1, count)


def pirl(slow, still, v1, v2):
    model, config = still.model, still.model.config
    v = slow.online(v1)
    vectors = slow.head(slow.encode(tiles(v2).reshape(-1, 3, 3, 1)), model.tile_head).reshape(len(v2), 9, -1)
    order = np.argsort(puzzle_draws(v1, 9, 0, views=1), axis=1)
    t = slow.head(np.stack([own[places].ravel() for own, places in zip(vectors, order, strict=True)]), model.joint_head)
    noise = drawn_noise(model, config.num_negatives)
    of_tiles, of_image = (of_bank(model, x, INDEX, np.asarray(model.bank.rows), noise) for x in (t, v))
    return config.tiles_weight * of_tiles + (1 - config.tiles_weight) * of_image


def cmc(slow, still, v1, v2):
    model = still.model
    features = np.split(slow.encode(np.concatenate([v1, v2])), 2, axis=1)
    heads, banks = (model.first_head, model.second_head), (model.second_bank, model.first_bank)
    noise = drawn_noise(model, model.config.num_negatives, views=2)
    terms = zip(features, heads, banks, strict=True)
    return sum(
        of_bank(model, slow.head(x, head), np.tile(INDEX, 2), np.asarray(bank.rows), noise) for x, head, bank in terms
    )


LABELS = np.array([0, 2, 0, 1, 2, -1], np.int32)
INDEX = np.array([3, 0, 8, 1, 5, 2], np.int32)
SMALL = {"hidden_dim": 6, "proj_out_dim": 4}
RELIC = {"critic_hidden_dim": 16, "proj_out_dim": 4, "temperature": 0.4, "alpha": 0.7}

# name: (slow loss, method, settings, what views_loss takes beside views)
CASES = {
    "simclr": (simclr, "simclr", {"num_proj_layers": 2, "proj_out_dim": 4, "temperature": 0.3}, {}),
    "simclr_v2": (simclr, "simclr", {"proj_out_dim": 4, "temperature": 0.3, "memory_size": 24}, {}),
    "simclr_lengths": (
        simclr, "simclr", {"proj_out_dim": 4, "temperature": 2.0, "memory_size": 24, "hidden_norm": False}, {},
    ),
    "simclr_linear_head": (simclr, "simclr", {"proj_head_mode": "linear", "proj_out_dim": 4, "temperature": 0.3}, {}),
    "simclr_no_head": (simclr, "simclr", {"proj_head_mode": "none", "temperature": 0.3}, {}),
    "moco_v1": (moco, "moco", {"queue_size": 12, "proj_out_dim": 4, "temperature": 0.2}, {}),
    "moco_v2": (moco, "moco", {"queue_size": 12, "proj_out_dim": 4, "temperature": 0.2, "moco_head": "mlp"}, {}),
    "moco_tiles": (  # whose third view is the second here
        moco_tiles, "moco",
        {"queue_size": 12, "proj_out_dim": 4, "temperature": 0.2, "moco_head": "mlp", "jigsaw_weight": 0.3}, {},
    ),
    "moco_v3": (moco_v3, "moco_v3", {**SMALL, "temperature": 0.5}, {}),
    "moco_v3_vit": (
        moco_v3, "moco_v3", {**SMALL, "temperature": 0.5, "num_proj_layers": 3, "predictor_last_norm": True}, {},
    ),
    "relic": (relic, "relic", RELIC, {}),
    "relic_t": (relic, "relic", {**RELIC, "use_target": True}, {}),
    "byol": (byol, "byol", SMALL, {}),
    "supcon": (supcon, "supcon", {**SMALL, "temperature": 0.25}, {"label": LABELS}),
    "barlow_twins": (barlow_twins, "barlow_twins", {**SMALL, "off_diagonal_weight": 0.05, "loss_scale": 0.5}, {}),
    "dcl": (dcl, "dcl", {"proj_out_dim": 4, "temperature": 0.3}, {}),
    "dclw": (dcl, "dcl", {"proj_out_dim": 4, "temperature": 0.3, "sigma": 0.5}, {}),
    "simclr_decoupled": (
        dcl, "simclr", {"proj_out_dim": 4, "temperature": 0.3, "decoupled": True, "decoupled_sigma": 0.7}, {},
    ),
    "simsiam": (simsiam, "simsiam", {**SMALL, "predictor_hidden_dim": 5}, {}),
    "vicreg": (
        vicreg, "vicreg",
        {**SMALL, "invariance_weight": 10.0, "variance_weight": 20.0, "covariance_weight": 3.0}, {},
    ),
    "nnclr": (nnclr, "nnclr", {**SMALL, "predictor_hidden_dim": 5, "queue_size": 12, "temperature": 0.3}, {}),
    "emp_ssl": (emp_ssl, "emp_ssl", {**SMALL, "similarity_weight": 5.0, "epsilon_squared": 0.3}, {}),
    "rotation": (rotation, "rotation", {}, {}),
    "jigsaw": (jigsaw, "jigsaw", {"num_permutations": 5, "hidden_dim": 4}, {}),
    "cmc": (
        cmc, "cmc",
        {"bank_size": 9, "num_negatives": 5, "objective": "info_nce", "proj_out_dim": 4, "temperature": 0.3,
         "channel_groups": "1/0"},
        {"index": INDEX},
    ),
    "pirl": (
        pirl, "pirl",
        {"bank_size": 9, "num_negatives": 5, "objective": "info_nce", "proj_out_dim": 4, "temperature": 0.3,
         "tiles_weight": 0.3},
        {"index": INDEX},
    ),
    "pirl_mlp": (
        pirl, "pirl",
        {"bank_size": 9, "num_negatives": 0, "objective": "info_nce", "proj_out_dim": 4, "temperature": 0.3,
         "pirl_head": "mlp"},
        {"index": INDEX},
    ),
    "swav": (
        swav, "swav", {**SMALL, "num_prototypes": 7, "temperature": 0.3, "freeze_prototypes_steps": 0}, {},
    ),
    "dino": (
        dino, "dino",
        {**SMALL, "num_prototypes": 7, "student_temperature": 0.3, "teacher_temperature": 0.2, "train_gain": True,
         "koleo_weight": 0.1}, {},
    ),
    "instdisc": (
        instdisc, "instdisc", {"bank_size": 9, "num_negatives": 0, "proj_out_dim": 4, "temperature": 0.3},
        {"index": INDEX},
    ),
    "relic_v2": (relic_v2, "relic_v2", RELIC, {}),
    "deepcluster_v2": (
        deepcluster_v2, "deepcluster_v2",
        {**SMALL, "bank_size": 9, "num_prototypes": 5, "num_clusterings": 2, "temperature": 0.3}, {"index": INDEX},
    ),
    "local_aggregation": (  # of its first steps; what follows is in test_banks
        instdisc, "local_aggregation",
        {"bank_size": 9, "num_neighbours": 4, "num_clusters": 3, "proj_out_dim": 4, "temperature": 0.3},
        {"index": INDEX},
    ),
}  # fmt: skip

# Methods, or cases, that cut their views or split their channels: (encoder, views)
OTHERS = {
    "jigsaw": (pooled_encoder, (9, 9, 1)),
    "pirl": (pooled_encoder, (9, 9, 1)),
    "cmc": (lambda: linear_encoder(channels=2), (SIZE, SIZE, 2)),
    "moco_tiles": (pooled_encoder, (9, 9, 1)),
}


def test_the_table_has_every_method():
    others = {"dim", "amdim", "cpc"}  # in test_places
    assert {method for _, method, _, _ in CASES.values()} | others == set(METHODS)


def along(loss, model, variable, direction, step=1e-5):
    """The slow loss's derivative along a direction of one weight."""
    still, value = Slow(model), np.asarray(variable, np.float64)
    high, low = (loss(Slow(model, (variable, value + sign * step * direction)), still) for sign in (1, -1))
    return (high - low) / (2 * step)


@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradient_are_those_of_the_slow_loop(case):
    slow_loss, method, settings, extra = CASES[case]
    encoder, shape = OTHERS.get(case, OTHERS.get(method, (lambda: None, (SIZE, SIZE, 1))))
    model, (v1, v2) = make(method, encoder(), **settings), views(shape=shape)
    given = [tf.constant(v1), tf.constant(v2), *([tf.constant(v2)] if case == "moco_tiles" else [])]
    kept = [variable for variable in model.variables if variable.path.endswith(("rows", "bank", "center"))]
    before = [np.array(variable) for variable in kept]
    with tf.GradientTape() as tape:
        loss, _, features = model.views_loss(
            given, training=True, **{name: tf.constant(x) for name, x in extra.items()}
        )
    for variable, value in zip(kept, before, strict=True):
        variable.assign(value)  # as they were when the loss was taken

    def slow(one, still):
        return slow_loss(one, still, v1, v2)

    np.testing.assert_allclose(loss, slow(Slow(model), Slow(model)), rtol=1e-5)
    expected = Slow(model).encode(np.concatenate([v1, v2])[: len(features)])
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5)
    weights = model.trainable_variables
    gradients = tape.gradient(loss, weights)
    rng = np.random.default_rng(1)
    for variable, gradient in zip(weights, gradients, strict=True):
        direction = rng.standard_normal(variable.shape)
        expected = along(slow, model, variable, direction)
        np.testing.assert_allclose(np.sum(gradient * direction), expected, rtol=2e-3, atol=2e-4, err_msg=variable.path)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def keys_of(model, name, v1, v2):
    if name == "moco":
        return unit(Slow(model).target(v2))
    if name == "nnclr":
        return unit(halves(Slow(model).online(np.concatenate([v1, v2])))[0])
    both = Slow(model).target(np.concatenate([v1, v2]))
    both = halves(unit(both) if model.config.hidden_norm else both)
    return np.stack(both, axis=1).reshape(2 * len(v1), -1)  # image by image


@pytest.mark.parametrize("case", ["moco_v1", "simclr_v2", "simclr_lengths", "nnclr"])
def test_the_newest_keys_take_the_place_of_the_oldest(case):
    _, method, settings, _ = CASES[case]
    model = make(method, **settings)
    queue = model.memory if method == "simclr" else model.queue
    expected = [*np.array(queue.rows)]
    for step in range(3):
        v1, v2 = views(step)
        newest = [*keys_of(model, method, v1, v2)]
        model.views_loss([tf.constant(v1), tf.constant(v2)], training=True)
        first = step * len(newest) % len(expected)
        expected[first : first + len(newest)] = newest
        np.testing.assert_allclose(queue.rows, expected, rtol=1e-4, atol=1e-5)
    assert int(queue.position) == 3 * len(newest) % len(expected)


def test_an_images_memory_is_a_mean_of_directions():
    _, _, settings, extra = CASES["instdisc"]
    model, (v1, v2) = make("instdisc", bank_momentum=0.3, **settings), views()
    expected = np.array(model.bank)
    z1, z2 = halves(Slow(model).online(np.concatenate([v1, v2])))
    expected[INDEX] = unit(0.3 * expected[INDEX] + 0.7 * unit((z1 + z2) / 2))
    model.views_loss([tf.constant(v1), tf.constant(v2)], training=True, index=tf.constant(extra["index"]))
    np.testing.assert_allclose(model.bank, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", ["moco_v1", "byol"])
def test_targets_follow_after_the_step(case):
    _, method, settings, _ = CASES[case]
    model = make(method, target_momentum=0.9, **settings)
    before = [(np.array(t), o) for target, online in model.targets
              for t, o in zip(target.trainable_variables, online.trainable_variables, strict=True)]  # fmt: skip
    model.train_step({"views": tuple(map(tf.constant, views()))})
    after = [np.array(t) for target, _ in model.targets for t in target.trainable_variables]
    for (old, online), new in zip(before, after, strict=True):
        np.testing.assert_allclose(new, 0.9 * old + 0.1 * np.array(online), rtol=1e-5, atol=1e-6)


def test_nce_draws_noise_anew_from_the_whole_bank_and_keeps_its_first_normalizer(monkeypatch):
    """Against the slow loop, with the noise that it drew."""
    drawn = []
    instance_nce = losses.instance_nce

    def spy(embeddings, bank, indices, noise, **options):
        drawn.append((np.array(noise), float(options["log_normalizer"])))
        return instance_nce(embeddings, bank, indices, noise, **options)

    monkeypatch.setattr(losses, "instance_nce", spy)
    (v1, v2), index = views(), tf.constant(INDEX)
    for seed in (0, 1):
        model = make("instdisc", bank_size=40, num_negatives=30, proj_out_dim=4, temperature=0.3)
        model.seed = seed
        for _ in range(2):
            bank = np.array(model.bank)
            embeddings = Slow(model).online(np.concatenate([v1, v2]))
            loss, _, _ = model.views_loss([tf.constant(v1), tf.constant(v2)], training=True, index=index)
            noise, log_normalizer = drawn[-1]
            inputs = {"embeddings": embeddings, "indices": np.tile(INDEX, 2), "noise": noise}
            expected = oracles.instance_nce(inputs, {"bank": bank}, temperature=0.3, log_normalizer=log_normalizer)
            np.testing.assert_allclose(loss, expected, rtol=1e-4)
            model.optimizer.iterations.assign_add(1)
    noises, normalizers = zip(*drawn, strict=True)
    assert normalizers[0] == normalizers[1]
    assert len({noise.tobytes() for noise in noises}) == 4
    assert np.unique(noises[0]).tolist() == list(range(40))


GROUPS = 2
SHUFFLED = {"queue_size": 16, "proj_out_dim": 4, "temperature": 0.2, "target_momentum": 1.0}


def in_groups(network, images):
    """Each group by its own batch statistics."""
    return np.concatenate([network(group) for group in np.split(images, GROUPS)])


def shuffled_moco(slow, still, v1, v2, order):
    """MoCo's loss where batch norm sees a group of images, and keys are made in another order than queries."""
    keys = np.empty((len(v2), 4))
    keys[order] = in_groups(still.target, v2[order])
    fixed = {"keys": keys, "queue": np.asarray(still.model.queue.rows)}
    loss = oracles.info_nce({"queries": in_groups(slow.online, v1)}, fixed, temperature=0.2)
    return loss, unit(keys)


@pytest.mark.parametrize("form", ["two_replicas", "split_batch_norm", "split_batch_norm_xla"])
def test_shuffled_batch_norm_is_that_of_the_slow_loop(form, two_replicas):
    def new(**settings):
        return make("moco", linear_encoder(norm=True), **SHUFFLED, **settings)

    before = new()  # as it was before the step
    if form == "two_replicas":
        with two_replicas.scope():
            model = new()
    else:
        model = new(bn_splits=GROUPS)
        model.compile(keras.optimizers.SGD(LEARNING_RATE), jit_compile=form == "split_batch_norm_xla")
    v1, v2 = views(batch=8)
    order = moco_module.permutation(8, 0, 0).numpy()
    assert sorted(order) == list(range(8))
    assert not np.array_equal(np.sort(order[:4]), np.arange(4))  # else shuffling would change nothing

    history = model.fit(tf.data.Dataset.from_tensors({"views": (v1, v2)}), verbose=0)
    loss, keys = shuffled_moco(Slow(before), Slow(before), v1, v2, order)
    np.testing.assert_allclose(history.history["loss"][0], loss, rtol=1e-5)
    np.testing.assert_allclose(np.array(model.queue.rows)[:8], keys, rtol=1e-4, atol=1e-5)
    rng = np.random.default_rng(1)
    for old, new_weight in zip(before.trainable_variables, model.trainable_variables, strict=True):
        direction = rng.standard_normal(old.shape)
        slope = along(lambda one, still: shuffled_moco(one, still, v1, v2, order)[0], before, old, direction)
        gradient = (np.array(old) - np.array(new_weight)) / LEARNING_RATE
        np.testing.assert_allclose(np.sum(gradient * direction), slope, rtol=5e-3, atol=1e-3, err_msg=old.path)


def test_the_order_of_the_shuffle_is_new_each_step_and_each_seed(monkeypatch):
    orders, permutation = [], moco_module.permutation

    def spy(*args):
        orders.append(permutation(*args).numpy().tobytes())
        return tf.constant(np.frombuffer(orders[-1], np.int32))

    monkeypatch.setattr(moco_module, "permutation", spy)
    v1, v2 = map(tf.constant, views(batch=8))
    for seed in (0, 1):
        model = make("moco", linear_encoder(norm=True), bn_splits=GROUPS, **SHUFFLED)
        model.seed = seed
        for _ in range(2):
            model.views_loss([v1, v2], training=True)
            model.optimizer.iterations.assign_add(1)
    assert len(set(orders)) == 4
