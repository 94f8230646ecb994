"""Methods of an image's places, DIM, AMDIM and CPC: the slow loop in float64, where maps come from, what is refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcontrastive
from tests.losses import oracles
from tests.methods.test_against_loops import Slow, along, halves
from tfcontrastive.config import AugmentConfig, InputError
from tfcontrastive.encoders.context import Context
from tfcontrastive.encoders.local_maps import with_local_maps
from tfcontrastive.encoders.same_layers import of_another_size
from tfcontrastive.methods import METHODS, build
from tfcontrastive.methods.cpc import cut

BATCH, SIZE = 3, 8


@pytest.fixture
def double():
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy("float32")


def map_encoder(size=SIZE):
    """Two linear maps of patches of two, and the mean of the second."""
    x = images = keras.Input((size, size, 1), dtype=keras.config.dtype_policy().name)
    for i, width in enumerate((4, 5)):
        x = keras.layers.Conv2D(width, 2, strides=2, use_bias=False, name=f"map_{i}")(x)
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(x), name="maps")


def make(method, **settings):
    keras.utils.set_random_seed(0)
    model = METHODS[method](map_encoder(), METHODS[method].Config(**settings), global_bn=False)
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        offset = 1.0 if variable.name == "gamma" else 0.0
        variable.assign(offset + 0.5 * rng.standard_normal(variable.shape))
    model.compile(keras.optimizers.SGD(0.1))
    return model


class SlowMaps(Slow):
    def maps(self, images):
        """[B, h, w, C] of both layers, and the features."""
        found, x = [], np.asarray(images, np.float64)
        for i in range(2):
            kernel = self.weight(self.model.encoder.get_layer(f"map_{i}").kernel)
            rows, side = len(x), x.shape[1] // 2
            patches = x.reshape(rows, side, 2, side, 2, -1).transpose(0, 1, 3, 2, 4, 5).reshape(rows, side, side, -1)
            x = patches @ kernel.reshape(-1, kernel.shape[-1])
            found.append(x)
        return (*found, x.mean(axis=(1, 2)))

    def of_places(self, maps, head):
        rows = self.head(maps.reshape(-1, maps.shape[-1]), head)
        return rows.reshape(len(maps), -1, rows.shape[-1])

    def layer_norm(self, x, layer):
        x = (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + layer.epsilon)
        return x * self.weight(layer.gamma) + self.weight(layer.beta)

    def dense(self, x, layer):
        return x @ self.weight(layer.kernel) + self.weight(layer.bias)

    def context(self, x):
        norm, reduce, conv, expand = self.model.context.parts
        y = np.maximum(self.dense(self.layer_norm(x, norm), reduce), 0)
        kernel, out = self.weight(conv.kernel), np.zeros_like(y)
        for r in range(x.shape[1]):
            for c in range(x.shape[2]):
                for up in (0, 1):
                    for over in (-1, 0, 1):
                        if r >= up and 0 <= c + over < x.shape[2]:
                            out[:, r, c] += y[:, r - up, c + over] @ kernel[1 - up, 1 + over]
        return x + self.dense(np.maximum(out + self.weight(conv.bias), 0), expand)


def dim(slow, v1, v2):
    large, _, features = slow.maps(np.concatenate([v1, v2]))
    g, places = halves(slow.head(features)), halves(slow.of_places(large, slow.model.local_heads[0]))
    pairs = zip(g, places, strict=True)
    measure = slow.model.config.measure
    return oracles.mean(
        oracles.deep_infomax({"features": one, "local_features": two}, {}, measure) for one, two in pairs
    )


def amdim(slow, v1, v2):
    model = slow.model
    large, small, features = slow.maps(np.concatenate([v1, v2]))
    g = halves(slow.head(features))
    large, small = halves(slow.of_places(large, model.large_head)), halves(slow.of_places(small, model.small_head))
    drawn, total = model._drawn(BATCH).numpy(), 0.0
    for a, b in ((0, 1), (1, 0)):
        place = np.stack([one[i] for one, i in zip(small[a], drawn[a], strict=True)])
        for source, target in ((g[a], small[b]), (g[a], large[b]), (place, small[b])):
            inputs = {"features": source, "local_features": target}
            total += oracles.amdim(inputs, {}, clip=model.config.clip, score_penalty=0.05) / 2
    return total


def cpc(slow, v1, v2):
    model, terms = slow.model, []
    for images in (v1, v2):
        patches = [image[r : r + 4, c : c + 4] for image in images for r in (0, 2, 4) for c in (0, 2, 4)]
        grids = slow.layer_norm(slow.maps(np.stack(patches))[-1].reshape(BATCH, 3, 3, -1), model.patch_norm)
        z = slow.of_places(grids, model.projection_head).reshape(BATCH, 3, 3, -1)
        for k in range(model.config.directions):
            turned = np.rot90(grids, k, axes=(1, 2))
            predicted = 0.3 * slow.dense(slow.context(turned), model.predictor)
            targets = np.rot90(z, k, axes=(1, 2))
            for offset, part in zip((1, 2), np.split(predicted, 2, axis=3), strict=True):
                terms.append(oracles.cpc({"predictions": part, "targets": targets}, {}, offset=offset))
    return oracles.mean(terms)


SMALL = {"hidden_dim": 6, "proj_out_dim": 4}
PATCHES = {"patch_side": 4, "patch_stride": 2, "first_offset": 1, "last_offset": 2, "prediction_scale": 0.3}
BLOCK = {"context_depth": 1, "context_dim": 3, "proj_out_dim": 4}
CASES = {
    "dim": (dim, "dim", SMALL),
    "dim_info_nce": (dim, "dim", {**SMALL, "measure": "info_nce", "local_layers": "map_0"}),
    "amdim": (amdim, "amdim", {**SMALL, "clip": 4.0}),
    "cpc": (cpc, "cpc", {**PATCHES, **BLOCK}),
    "cpc_down": (cpc, "cpc", {**PATCHES, **BLOCK, "directions": 1}),
}


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradient_are_those_of_the_slow_loop(case):
    slow_loss, method, settings = CASES[case]
    model, (v1, v2) = make(method, **settings), np.random.default_rng(1).standard_normal((2, BATCH, SIZE, SIZE, 1))
    with tf.GradientTape() as tape:
        loss, _, features = model.views_loss([tf.constant(v1), tf.constant(v2)], training=True)

    def slow(one, still):
        return slow_loss(SlowMaps(model, one.moved), v1, v2)

    np.testing.assert_allclose(loss, slow(Slow(model), None), rtol=1e-9)
    if method != "cpc":
        np.testing.assert_allclose(features, SlowMaps(model).maps(np.concatenate([v1, v2]))[-1], rtol=1e-9, atol=1e-12)
    assert features.shape == (2 * BATCH, 5)
    rng, weights = np.random.default_rng(2), model.trainable_variables
    for variable, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
        direction = rng.standard_normal(variable.shape)
        expected = along(slow, model, variable, direction)
        np.testing.assert_allclose(np.sum(gradient * direction), expected, rtol=1e-5, atol=1e-7, err_msg=variable.path)


def test_amdim_draws_places_anew_in_each_step_and_from_all_of_the_map():
    model, seen = make("amdim", **SMALL), []
    for step in range(20):
        model.optimizer.iterations.assign(step)
        seen.append(model._drawn(BATCH).numpy())
    assert set(np.ravel(seen)) == {0, 1, 2, 3}
    model.optimizer.iterations.assign(3)
    np.testing.assert_array_equal(model._drawn(BATCH), seen[3])
    np.testing.assert_array_equal(seen[0].shape, (2, BATCH))


def test_maps_are_those_of_named_layers_or_the_last_of_each_size():
    encoder = tfcontrastive.ResNet(18, width_multiplier=0.0625, input_shape=(32, 32, 3))
    found = with_local_maps(encoder, ("block_group2", "initial_relu"), 0, "DIM")
    assert found.shapes == ((16 * 16, 8), (32 * 32, 4))
    assert build("dim", encoder, **SMALL).local.names == ("block_group3",)
    assert build("amdim", encoder, **SMALL).local.names == ("block_group3", "block_group4")
    images = tf.random.stateless_uniform([2, 32, 32, 3], [0, 1])
    features, (maps, _) = found.split(found.network(images))
    np.testing.assert_allclose(features, encoder(images), rtol=1e-5, atol=1e-6)
    layer = keras.Model(encoder.inputs, encoder.get_layer("block_group2").output)
    np.testing.assert_allclose(maps, tf.reshape(layer(images), maps.shape), rtol=1e-5, atol=1e-6)
    assert {id(v) for v in found.network.variables} == {id(v) for v in encoder.variables}


def test_maps_are_found_in_a_model_inside_of_the_encoder_whose_statistics_move_once():
    inner = tfcontrastive.ResNet(18, width_multiplier=0.0625, input_shape=(8, 8, 1))
    images = keras.Input((8, 8, 1))
    model = build("dim", keras.Model(images, inner(keras.layers.Identity()(images))), **SMALL)
    assert model.local.names == ("block_group2",)
    norm = inner.get_layer("initial_norm")
    pixels = tf.random.stateless_uniform([4, 8, 8, 1], [0, 1])
    before, seen = norm.moving_mean.numpy(), inner.get_layer("initial_conv")(pixels)
    model.local.network(pixels, training=True)
    expected = 0.9 * before + 0.1 * np.mean(seen, axis=(0, 1, 2))
    np.testing.assert_allclose(norm.moving_mean, expected, rtol=1e-4, atol=1e-6)


def test_an_encoder_of_one_size_gives_patches_the_features_of_its_own_weights():
    encoder = map_encoder()
    network = of_another_size(encoder, 4, "CPC")
    pixels = tf.random.stateless_uniform([2, 4, 4, 1], [0, 1])
    expected = map_encoder(4)
    expected.set_weights(encoder.get_weights())
    np.testing.assert_allclose(network(pixels), expected(pixels), rtol=1e-6)
    flat = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    with pytest.raises(
        InputError, match="CPC shows its encoder patches of 4 pixels: `encoder` must be one whose layers"
    ):
        build("cpc", flat, **PATCHES)


def test_patches_are_cut_row_by_row():
    images = np.arange(2 * 5 * 5).reshape(2, 5, 5, 1)
    found = cut(tf.constant(images), 3, 2)
    expected = [image[r : r + 3, c : c + 3] for image in images for r in (0, 2) for c in (0, 2)]
    np.testing.assert_array_equal(found, expected)


def test_a_row_of_the_context_knows_of_none_below():
    context = Context(depth=2, hidden_dim=4)
    grid = np.random.default_rng(0).standard_normal((1, 5, 5, 3)).astype(np.float32)
    changed = grid.copy()
    changed[:, 3] += 1
    one, two = context(grid).numpy(), context(changed).numpy()
    np.testing.assert_array_equal(one[:, :3], two[:, :3])
    assert np.all(np.any(one[:, 3:] != two[:, 3:], axis=(2, 3)))


def test_patches_keep_the_proportions_of_the_paper():
    grids = [build("cpc", map_encoder(size)).grid(size) for size in (260, 224)]
    assert grids == [(6, 80, 36), (6, 69, 31)]
    assert build("cpc", map_encoder(28), last_offset=4).grid(28) == (5, 9, 4)


@pytest.mark.parametrize(
    ("method", "settings", "match"),
    [
        ("dim", {"local_layers": "map_9"}, r"DIM needs layers .*local_layers=map_9. Its last maps: map_0, map_1"),
        ("amdim", {"local_layers": "map_1"}, "`local_layers` must be two layers of the encoder"),
        ("cpc", {}, "CPC needs patches of 4 pixels or more .* patch_side=2 and patch_stride=1, in views of 8 pixels"),
        ("cpc", {**PATCHES, "last_offset": 3}, "more rows of them than `last_offset`, 3. Received: 3 rows"),
        ("cpc", {**PATCHES, "last_offset": 1, "first_offset": 2}, "`last_offset` must be at least first_offset, 2"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(method, settings, match):
    with pytest.raises(InputError, match=match) as error:
        build(method, map_encoder(), **settings)
    assert "\n" not in str(error.value)


def test_other_views_and_sizes_are_refused():
    with pytest.raises(InputError, match="AMDIM takes 2 views of an image"):
        METHODS["amdim"].make_policy(AugmentConfig(num_views=3))
    with pytest.raises(InputError, match="CPC takes any number of views of an image, all of one size"):
        METHODS["cpc"].make_policy(AugmentConfig(small_views=2))
    with pytest.raises(InputError, match=r"DIM needs layers .* Give it an input_shape of known height and width"):
        build("dim", map_encoder(None))
    with pytest.raises(InputError, match=r"views must be square, to be cut into patches\. Received: 8x4 pixels"):
        build("cpc", map_encoder(None), **PATCHES).views_loss([tf.zeros([1, 8, 4, 1])], training=False)
