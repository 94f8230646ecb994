"""Methods of more views than two, and of small ones: the slow loop, replicas, resuming, micro batches, the probe."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.losses import oracles
from tests.methods.cases import fit, weights
from tests.methods.test_against_loops import Slow, along, make, sinkhorn
from tfcontrastive.config import AugmentConfig, InputError
from tfcontrastive.encoders import BatchNorm, ViT
from tfcontrastive.methods import METHODS
from tfcontrastive.methods.view_pairs import large_views, pairs_once, target_pairs
from tfcontrastive.models.checkpoint import checkpoint_of, restore

BATCH, FEATURES, PATCH = 4, 5, 2
THREE, CROPS = (8, 8, 8), (8, 8, 4, 4)


@pytest.fixture
def double():
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy("float32")


def views(sizes, seed=0, batch=BATCH):
    rng = np.random.default_rng(seed)
    return [rng.random((batch, size, size, 1)) for size in sizes]


def patch_encoder(norm=True):
    """A map of patches, its batch norm, and their mean; it takes images of any size."""
    images = keras.Input((None, None, 1), dtype=keras.config.dtype_policy().name)
    x = keras.layers.Conv2D(FEATURES, PATCH, strides=PATCH, use_bias=False, name="map")(images)
    x = BatchNorm(synchronized=False, name="norm")(x) if norm else x
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(x))


class SlowViews(Slow):
    """The networks on views of several sizes: the encoder by size, so are its batch statistics; heads on all at once."""

    def encode(self, images, network=None):
        """Images are a list of views; rows of the features are view after view."""
        sizes = sorted({len(view[0]) for view in images}, reverse=True)
        groups = [np.concatenate([view for view in images if len(view[0]) == size]) for size in sizes]
        return np.concatenate([self.encode_group(group, network or self.model.encoder) for group in groups])

    def encode_group(self, images, network):
        rows, side = len(images), images.shape[1] // PATCH
        patches = images.reshape(rows, side, PATCH, side, PATCH).transpose(0, 1, 3, 2, 4).reshape(-1, PATCH**2)
        x = patches @ self.weight(network.get_layer("map").kernel).reshape(PATCH**2, -1)
        return self.norm(x, network.get_layer("norm")).reshape(rows, side**2, -1).mean(axis=1)


def named(letter, rows, count):
    return {f"{letter}{i}": part for i, part in enumerate(np.split(rows, count), 1)}


# One function for each case: the slow loss of any views, of which the first `large` have targets.


def simclr(slow, still, images, large):
    inputs = named("z", slow.online(images), len(images))
    if still.model.config.memory_size:
        inputs["memory"] = np.asarray(still.model.memory.rows)
    return oracles.nt_xent_views(inputs, inputs, temperature=0.3)


def supcon(slow, still, images, large):
    embeddings = np.stack(np.split(slow.online(images), len(images)), axis=1)
    return oracles.sup_con({"embeddings": embeddings, "labels": LABELS}, {}, temperature=0.25)


def relic(slow, still, images, large):
    def inputs(network):
        if still.model.config.use_target:
            z, targets = network.predicted(images), still.target(images[:large])
        else:
            z = network.online(images)
            targets = z[: large * BATCH]
        return {**named("z", z, len(images)), **named("t", targets, large)}

    return oracles.relic_views(inputs(slow), inputs(still), temperature=0.4, alpha=0.7)


def byol(slow, still, images, large):
    q = [oracles.unit(rows) for rows in np.split(slow.predicted(images), len(images))]
    t = [oracles.unit(rows) for rows in np.split(still.target(images[:large]), large)]
    pairs = [(q[a], t[b]) for a in range(len(q)) for b in range(large) if a != b]
    return 2 * np.mean([[np.sum((u - v) ** 2) for u, v in zip(*pair, strict=True)] for pair in pairs])


def barlow_twins(slow, still, images, large):
    return oracles.barlow_twins_views(named("z", slow.online(images), len(images)), large)


def moco_v3(slow, still, images, large):
    queries, keys = slow.predicted(images), still.target(images[:large])
    return oracles.info_nce_views(named("q", queries, len(images)), named("k", keys, large), temperature=0.5)


def dcl(slow, still, images, large):
    return oracles.dcl_views(named("z", slow.online(images), len(images)), {}, temperature=0.3, sigma=0.5)


def parts(rows, count):
    return [np.array(oracles.unit(part)) for part in np.split(rows, count)]


def simsiam(slow, still, images, large):
    p, z = (parts(rows, len(images)) for rows in (slow.predicted(images), still.online(images)))
    return -np.mean([np.mean(np.sum(p[a] * z[b], axis=1)) for a, b in pairs_with_targets(images, large)])


def pairs_with_targets(images, large):
    return [(a, b) for a in range(len(images)) for b in range(large) if a != b]


def vicreg(slow, still, images, large):
    z = np.split(slow.online(images), len(images))
    pairs = [(a, b) for a in range(len(z)) for b in range(a) if b < large]
    return np.mean([oracles.vicreg({"z1": z[a], "z2": z[b]}, {}) for a, b in pairs])


def nnclr(slow, still, images, large):
    queue, z = np.asarray(still.model.queue.rows), parts(still.online(images), len(images))
    p = np.split(slow.predicted(images), len(images))
    near = [queue[np.argmax(one @ queue.T, axis=1)] for one in z]
    pairs = pairs_with_targets(images, large)
    return np.mean([oracles.nnclr({"p": p[a]}, {"neighbours": near[b]}, temperature=0.3) for a, b in pairs])


def swav(slow, still, images, large):
    model = still.model
    s, fixed = (
        [z @ one.weight(model.prototypes).T for z in parts(one.online(images), len(images))] for one in (slow, still)
    )
    q = [sinkhorn(scores) for scores in fixed[:large]]
    pairs = pairs_with_targets(images, large)
    return np.mean([oracles.swav({"scores": s[a]}, {"assignments": q[b]}, temperature=0.3) for a, b in pairs])


def relic_v2(slow, still, images, large):
    targets = named("t", still.target(images[:large]), large)
    inputs = ({**named("z", one.predicted(images), len(images)), **targets} for one in (slow, still))
    return oracles.relic_views(*inputs, temperature=0.4, alpha=0.7, own_pairs=True)


def deepcluster_v2(slow, still, images, large):
    s, fixed = (
        [z @ np.asarray(still.model.centroids).T for z in parts(one.online(images), len(images))]
        for one in (slow, still)
    )
    q = [sinkhorn(scores) for scores in fixed[:large]]
    pairs = pairs_with_targets(images, large)
    return np.mean([oracles.swav({"scores": s[a]}, {"assignments": q[b]}, temperature=0.3) for a, b in pairs])


def dino(slow, still, images, large):
    model, options = still.model, {"student_temperature": 0.3, "teacher_temperature": 0.2}

    def outputs(network, z, last):
        v = network.weight(last.kernel)
        return z @ (v / np.linalg.norm(v, axis=0))

    s = np.split(outputs(slow, slow.online(images), model.prototypes), len(images))
    t = np.split(outputs(still, still.target(images[:large]), model.target_prototypes), large)
    center, pairs = np.asarray(model.center), pairs_with_targets(images, large)
    return np.mean([oracles.dino({"student": s[a]}, {"teacher": t[b], "center": center}, **options) for a, b in pairs])


def emp_ssl(slow, still, images, large):
    z = parts(slow.online(images), len(images))
    center = np.array(oracles.unit(sum(z)))
    return -np.mean(
        [oracles.total_coding_rate({"z": one}, {}, 0.3) + 5 * np.mean(np.sum(one * center, axis=1)) for one in z]
    )


LABELS = np.array([0, 2, 0, -1], np.int32)
SMALL = {"hidden_dim": 6, "proj_out_dim": 4}
RELIC = {"critic_hidden_dim": 16, "proj_out_dim": 4, "temperature": 0.4, "alpha": 0.7}
CASES = {
    "simclr": (simclr, "simclr", {"num_proj_layers": 2, "proj_out_dim": 4, "temperature": 0.3}),
    "simclr_v2": (simclr, "simclr", {"proj_out_dim": 4, "temperature": 0.3, "memory_size": 24}),
    "supcon": (supcon, "supcon", {**SMALL, "temperature": 0.25}),
    "relic": (relic, "relic", RELIC),
    "relic_t": (relic, "relic", {**RELIC, "use_target": True}),
    "byol": (byol, "byol", SMALL),
    "barlow_twins": (barlow_twins, "barlow_twins", {**SMALL, "off_diagonal_weight": 0.05, "loss_scale": 1.0}),
    "moco_v3": (moco_v3, "moco_v3", {**SMALL, "temperature": 0.5}),
    "dcl": (dcl, "dcl", {"proj_out_dim": 4, "temperature": 0.3, "sigma": 0.5}),
    "simsiam": (simsiam, "simsiam", {**SMALL, "predictor_hidden_dim": 5}),
    "vicreg": (vicreg, "vicreg", SMALL),
    "nnclr": (nnclr, "nnclr", {**SMALL, "predictor_hidden_dim": 5, "queue_size": 12, "temperature": 0.3}),
    "swav": (swav, "swav", {**SMALL, "num_prototypes": 7, "temperature": 0.3, "freeze_prototypes_steps": 0}),
    "dino": (
        dino,
        "dino",
        {
            "proj_out_dim": 4,
            "num_head_layers": 1,
            "num_prototypes": 7,
            "student_temperature": 0.3,
            "teacher_temperature": 0.2,
        },
    ),
    "emp_ssl": (emp_ssl, "emp_ssl", {**SMALL, "similarity_weight": 5.0, "epsilon_squared": 0.3}),
    "relic_v2": (relic_v2, "relic_v2", RELIC),
    "deepcluster_v2": (
        deepcluster_v2,
        "deepcluster_v2",
        {**SMALL, "bank_size": 9, "num_prototypes": 5, "num_clusterings": 1, "temperature": 0.3},
    ),
}


def test_every_method_that_takes_small_views_is_here():
    able = {name for name, kind in METHODS.items() if kind.takes_small_views}
    assert able == {method for _, method, _ in CASES.values()}


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("sizes", [THREE, CROPS], ids=["three", "crops"])
@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradient_are_those_of_the_slow_loop(case, sizes):
    slow_loss, method, settings = CASES[case]
    model, images, large = make(method, patch_encoder(), **settings), views(sizes), sizes.count(sizes[0])
    extra = {"supcon": {"label": tf.constant(LABELS)}, "deepcluster_v2": {"index": tf.range(BATCH)}}.get(method, {})
    memory = np.array(model.memory.rows) if settings.get("memory_size") else None
    kept = [variable for variable in model.variables if variable.path.endswith(("queue/rows", "center", "bank"))]
    before = [np.array(variable) for variable in kept]
    with tf.GradientTape() as tape:
        loss, _, features = model.views_loss([tf.constant(view) for view in images], training=True, **extra)
    if memory is not None:
        newest = np.split(SlowViews(model).target(images[:2]), 2)
        newest = np.array(oracles.unit(np.stack(newest, axis=1).reshape(2 * BATCH, -1)))  # image by image
        np.testing.assert_allclose(np.array(model.memory.rows)[: len(newest)], newest, rtol=1e-9)
        model.memory.rows.assign(memory)  # as it was when the loss was taken

    for variable, value in zip(kept, before, strict=True):
        variable.assign(value)

    def slow(one, still):
        return slow_loss(SlowViews(model, one.moved), SlowViews(model), images, large)

    np.testing.assert_allclose(loss, slow(SlowViews(model), None), rtol=1e-10)
    expected = SlowViews(model).encode(images)[: large * BATCH]
    np.testing.assert_allclose(features, expected, rtol=1e-9, atol=1e-12)  # what the probe sees
    rng = np.random.default_rng(1)
    gradients = tape.gradient(loss, model.trainable_variables)
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        direction = rng.standard_normal(variable.shape)
        slope = along(slow, model, variable, direction)
        np.testing.assert_allclose(np.sum(gradient * direction), slope, rtol=1e-5, atol=1e-7, err_msg=variable.path)


def batches(count, sizes=CROPS, first=0):
    made = [{"views": tuple(views(sizes, step, 8)), "label": np.arange(8) % 3} for step in range(first, first + count)]
    return tf.data.Dataset.from_tensor_slices(tf.nest.map_structure(lambda *parts: np.stack(parts), *made))


def trained(case, data, *, norm=True, **options):
    _, method, settings = CASES[case]
    keras.utils.set_random_seed(0)
    if "memory_size" in settings:
        settings = {**settings, "memory_size": 32}
    model = METHODS[method](patch_encoder(norm), METHODS[method].Config(**settings), num_classes=3, **options)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.5))
    return model, fit(model, data)


@pytest.mark.usefixtures("eagerly")
@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("case", ["simclr_v2", "byol"])  # the losses of the others: test_against_oracles
def test_two_replicas_learn_what_one_does(case, two_replicas):
    alone, expected = trained(case, batches(2), norm=False)
    with two_replicas.scope():
        together, found = trained(case, batches(2), norm=False)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    both = zip(weights(together).items(), weights(alone).values(), strict=True)
    for (name, value), other in both:
        np.testing.assert_allclose(value, other, rtol=1e-9, atol=1e-12, err_msg=name)


def test_resuming_from_a_checkpoint_changes_nothing(tmp_path):
    model, _ = trained("simclr_v2", batches(2))
    path = checkpoint_of(model).save(str(tmp_path / "middle"))
    losses = fit(model, batches(2, first=2))
    restore(path, model)
    assert fit(model, batches(2, first=2)) == losses


@pytest.mark.usefixtures("double")
def test_micro_batches_learn_what_the_batch_does_in_one_piece():
    (whole, expected), (parts, found) = (
        trained("relic_t", batches(2), norm=False, micro_batch_size=size) for size in (0, 4)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    for one, two in zip(parts.trainable_variables, whole.trainable_variables, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-12)


def test_a_vit_sees_views_of_each_size():
    encoder = ViT(width=8, depth=1, num_heads=1, patch_size=2, input_shape=(None, None, 1))
    model = METHODS["byol"](encoder, METHODS["byol"].Config(**SMALL))
    loss, _, features = model.views_loss([tf.constant(view, tf.float32) for view in views(CROPS)], training=True)
    assert np.isfinite(loss)
    assert features.shape == (2 * BATCH, 8)


def test_whole_images_become_the_views_that_are_asked_for():
    images = tf.random.stateless_uniform([2, 8, 8, 1], [0, 1])
    plain, more = (
        METHODS["byol"](patch_encoder(), METHODS["byol"].Config(**SMALL), augmentation=asked)
        for asked in (AugmentConfig(), AugmentConfig(num_views=3, small_views=2, small_view_size=4))
    )
    made = [model.augment_images(images, tf.constant(5)) for model in (plain, more)]
    assert [view.shape[1] for view in made[1]] == [8, 8, 8, 4, 4]
    for one, two in zip(made[0], made[1], strict=False):
        np.testing.assert_array_equal(one, two)  # the first two are those of a run of two views


@pytest.mark.parametrize(
    ("method", "settings", "match"),
    [
        (
            "moco",
            {"num_views": 3},
            "MoCo takes 2 views of an image, all of one size. Received: 3 views, by .*num_views=3",
        ),
        ("moco", {"small_views": 4}, "Received: 2 views and 4 small ones, by augmentation=simclr, small_views=4"),
        ("instdisc", {"augmentation": "multicrop_2x224_6x96"}, "InstDisc takes any number of views .* all of one size"),
    ],
)
def test_methods_that_cannot_refuse_in_one_line(method, settings, match):
    with pytest.raises(InputError, match=match) as error:
        METHODS[method].make_policy(AugmentConfig(**settings))
    assert "\n" not in str(error.value)


def test_pairs_of_views():
    assert target_pairs(2, 2) == [(0, 1), (1, 0)]
    assert target_pairs(4, 2) == [(0, 1), (1, 0), (2, 0), (2, 1), (3, 0), (3, 1)]
    assert pairs_once(4, 2) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3)]
    for pairs in (target_pairs, pairs_once):
        with pytest.raises(InputError, match="views must be 2 or more"):
            pairs(1, 1)


def test_large_views_come_first():
    shapes = [tf.zeros([1, size, size, 1]) for size in (4, 4, 2)]
    assert large_views(shapes) == 2
    assert large_views(shapes[:2]) == 2
    with pytest.raises(InputError, match=r"largest first\. Received: 2x2, 4x4 pixels"):
        large_views(shapes[:0:-1])
