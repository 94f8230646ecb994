"""ResNet: its size, stems, options, salient points, and that it trains, saves and freezes as a Keras model does."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive.config import InputError
from tfcontrastive.encoders import BatchNorm, ResNet

TINY = {"depth": 18, "width_multiplier": 0.125, "input_shape": (16, 16, 3)}
BLOCKS = {"norm": "group", "sk_ratio": 0.0625, "se_ratio": 1.0}


def images(count=4, size=16, channels=3):
    return tf.constant(np.random.default_rng(0).random((count, size, size, channels), dtype=np.float32))


def parameters(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def test_parameter_counts_are_the_published_ones():
    assert parameters(ResNet(18)) == 11_180_736
    assert parameters(ResNet(50)) == 23_508_032
    assert parameters(ResNet(50, sk_ratio=0.0625)) == 35_215_584


@pytest.mark.parametrize(("depth", "layers_with_kernels"), [(34, 32), (101, 99), (152, 150), (200, 198)])
def test_depth_counts_the_convolutions(depth, layers_with_kernels):
    encoder = ResNet(depth, width_multiplier=1 / 64, input_shape=(32, 32, 3))
    in_blocks = [name for name in encoder.layer_order if "_conv" in name and "shortcut" not in name]
    assert len([name for name in in_blocks if name.startswith("block")]) == layers_with_kernels


@pytest.mark.parametrize(
    ("stem", "input_shape", "kernel", "pooled"),
    [
        ("auto", (32, 32, 3), 3, 32),
        ("auto", (33, 32, 3), 7, 9),
        ("auto", (None, None, 3), 7, None),
        ("small", (None, None, 3), 3, None),
        ("strided", (32, 32, 3), 3, 16),
        ("large", (32, 32, 3), 7, 8),
    ],
)
def test_stem(stem, input_shape, kernel, pooled):
    encoder = ResNet(18, width_multiplier=0.125, input_shape=input_shape, stem=stem)
    assert encoder.get_layer("initial_conv").kernel.shape[0] == kernel
    assert encoder.get_layer("initial_max_pool").output.shape[1] == pooled


def test_salient_points_are_named():
    encoder = ResNet(**TINY)
    names = ["initial_conv", "initial_max_pool", *[f"block_group{group}" for group in range(1, 5)], "final_avg_pool"]
    points = keras.Model(encoder.input, {name: encoder.get_layer(name).output for name in names})(images())
    assert [points[name].shape[-1] for name in names] == [8, 8, 8, 16, 32, 64, 64]
    np.testing.assert_array_equal(points["final_avg_pool"], encoder(images()))


def test_first_kernels_have_the_variance_of_their_inputs():
    encoder = ResNet(18, width_multiplier=0.5, input_shape=(32, 32, 3))
    for name in ("block_group4_block1_conv1", "block_group4_block2_conv2", "block_group4_block1_shortcut_conv"):
        kernel = np.asarray(encoder.get_layer(name).kernel)
        assert kernel.std() == pytest.approx(np.prod(kernel.shape[:3]) ** -0.5, rel=0.02)


def zero_gammas(encoder):
    return [name for name in encoder.layer_order if not np.any(getattr(encoder.get_layer(name), "gamma", 1))]


@pytest.mark.parametrize(("options", "last"), [({}, "norm2"), ({"norm": "group"}, "norm2"), ({"depth": 50}, "norm3")])
def test_blocks_begin_as_their_shortcuts(options, last):
    encoder = ResNet(**TINY | options)
    sizes = (3, 4, 6, 3) if last == "norm3" else (2, 2, 2, 2)
    blocks = [(group + 1, block + 1) for group, size in enumerate(sizes) for block in range(size)]
    assert zero_gammas(encoder) == [f"block_group{group}_block{block}_{last}" for group, block in blocks]


@pytest.mark.parametrize("options", [{}, {"norm": "group"}, {"depth": 50}])
def test_blocks_may_begin_with_open_branches(options):
    encoder = ResNet(**TINY | options, zero_init_residual=False)
    assert zero_gammas(encoder) == []
    assert zero_gammas(type(encoder).from_config(encoder.get_config())) == []


@pytest.mark.parametrize("channels", [1, 5])
@pytest.mark.parametrize("options", [{}, BLOCKS, {**BLOCKS, "depth": 50}], ids=["plain", "options", "bottleneck"])
def test_every_weight_has_a_gradient(channels, options):
    keras.utils.set_random_seed(0)  # or a narrow ReLU may happen to pass nothing
    encoder = ResNet(**{**TINY, "input_shape": (16, 16, channels), **options})
    for layer in encoder.layers:  # the last gamma of a block is zero at first, and hides what stands before it
        if getattr(layer, "gamma", None) is not None:
            layer.gamma.assign(tf.ones_like(layer.gamma))
    weights = encoder.trainable_variables
    with tf.GradientTape() as tape:
        features = encoder(images(channels=channels), training=True)
        loss = tf.reduce_sum(tf.square(features) * tf.range(1.0, features.shape[-1] + 1))
    for variable, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
        assert gradient is not None, variable.path
        assert np.any(gradient), variable.path


def test_strides_do_not_shift_with_the_size_of_the_image():
    """An image in a larger frame of zeros has the same activations, whether the frame is even or odd."""
    encoder = ResNet(18, width_multiplier=0.125, input_shape=(None, None, 1), stem="large")
    conv = keras.Model(encoder.input, encoder.get_layer("initial_conv").output)
    image = images(1, 12, 1)
    even, odd = [conv(tf.pad(image, [[0, 0], [0, more], [0, more], [0, 0]])) for more in (4, 5)]
    np.testing.assert_allclose(even[:, :8, :8], odd[:, :8, :8], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {**BLOCKS, "norm": "batch", "depth": 50}], ids=["plain", "options"])
def test_saves_and_loads(options, tmp_path):
    encoder = ResNet(**{**TINY, **options})
    encoder(images(), training=True)
    encoder.save(tmp_path / "encoder.keras")
    loaded = keras.models.load_model(tmp_path / "encoder.keras")
    assert isinstance(loaded, ResNet)
    assert loaded.get_config() == encoder.get_config()
    np.testing.assert_array_equal(loaded(images()), encoder(images()))


def test_loads_in_its_own_precision(tmp_path):
    encoder = ResNet(**TINY, dtype="mixed_bfloat16")
    assert encoder(images()).dtype == "float32"
    assert encoder.get_layer("block_group4").output.dtype == "bfloat16"
    encoder.save(tmp_path / "encoder.keras")
    loaded = keras.models.load_model(tmp_path / "encoder.keras")
    assert loaded.get_layer("block_group4").output.dtype == "bfloat16"


def test_follows_the_global_policy():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        assert ResNet(**TINY).get_layer("block_group1").output.dtype == "bfloat16"
    finally:
        keras.config.set_dtype_policy(policy)


def test_frozen_encoder_does_not_change():
    encoder = ResNet(**TINY)
    encoder.trainable = False
    before = [np.array(w) for w in encoder.weights]
    np.testing.assert_array_equal(encoder(images(), training=True), encoder(images()))
    for old, new in zip(before, encoder.weights, strict=True):
        np.testing.assert_array_equal(old, new)


def test_options_reach_the_norms():
    norms = [layer for layer in ResNet(**TINY, global_bn=False, batch_norm_decay=0.99).layers
             if isinstance(layer, BatchNorm)]  # fmt: skip
    assert {(norm.synchronized, norm.momentum, norm.epsilon) for norm in norms} == {(False, 0.99, 1e-5)}
    assert not any(isinstance(layer, BatchNorm) for layer in ResNet(**TINY, norm="group").layers)


@pytest.mark.parametrize(("width", "groups"), [(0.1, {1, 2, 4}), (0.4, {1, 2, 4}), (0.75, {16, 32}), (1.0, {32})])
def test_group_norm_takes_any_width(width, groups):
    norms = [layer for layer in ResNet(18, width_multiplier=width, norm="group", input_shape=(16, 16, 3)).layers
             if isinstance(layer, keras.layers.GroupNormalization)]  # fmt: skip
    assert {norm.groups for norm in norms} <= groups


def test_replicas_share_statistics(two_replicas):
    """A forward pass in training is that of one device, and so are the statistics after it."""
    with two_replicas.scope():
        double = ResNet(**TINY)
    single = ResNet(**TINY)
    single.set_weights(double.get_weights())
    x = images(8) * tf.reshape(tf.range(1.0, 9.0), [8, 1, 1, 1])
    parts = tf.split(x, 2)
    values = two_replicas.experimental_distribute_values_from_function(lambda c: parts[c.replica_id_in_sync_group])
    step = tf.function(lambda part: two_replicas.run(lambda p: double(p, training=True), (part,)))
    outputs = two_replicas.experimental_local_results(step(values))
    np.testing.assert_allclose(tf.concat(outputs, 0), single(x, training=True), rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(double.get_weights(), single.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 51}, "`depth` must be one of"),
        ({"width_multiplier": 0}, "`width_multiplier` must be > 0. Received: width_multiplier=0"),
        ({"sk_ratio": -0.1}, r"`sk_ratio` must be in \[0, 1\]. Received: sk_ratio=-0.1"),
        ({"stem": "tiny"}, "`stem` must be one of"),
        ({"norm": "layer"}, "`norm` must be one of"),
        ({"zero_init_residual": None}, "`zero_init_residual` must be one of"),
        ({"input_shape": (32, 32, None)}, "`input_shape` must be"),
    ],
)
def test_bad_values_are_told(options, message):
    with pytest.raises(InputError, match=message):
        ResNet(**options)


GRIDS = (4, 2, 0, 1)


def test_feature_grids_are_the_normalised_means_of_the_groups():
    encoder = ResNet(**TINY, feature_grids=GRIDS)
    assert encoder.output_shape == (None, 16 * 8 + 4 * 16 + 64)
    points = keras.Model(encoder.input, [encoder.get_layer(f"block_group{group}").output for group in (1, 2, 4)])
    first, second, last = points(images())
    means = [
        tf.reshape(tf.nn.avg_pool2d(first, 4, 4, "VALID"), [4, -1]),
        tf.reshape(tf.nn.avg_pool2d(second, 4, 4, "VALID"), [4, -1]),
        tf.reduce_mean(last, axis=(1, 2)),
    ]
    np.testing.assert_allclose(encoder(images()), tf.concat(means, axis=1) / np.sqrt(1 + 1e-5), rtol=1e-5, atol=1e-6)

    trained = encoder(images(64), training=True)  # its own batch's statistics: every feature counts alike
    np.testing.assert_allclose(tf.math.reduce_variance(trained, axis=0), 1.0, atol=0.02)


def test_feature_grids_change_no_layer_before_them():
    keras.utils.set_random_seed(0)
    plain = ResNet(**TINY)
    keras.utils.set_random_seed(0)
    grids = ResNet(**TINY, feature_grids=GRIDS)
    assert grids.layer_order == (*plain.layer_order, "feature_norm")
    of_plain = keras.Model(plain.input, plain.get_layer("block_group4").output)
    of_grids = keras.Model(grids.input, grids.get_layer("block_group4").output)
    np.testing.assert_array_equal(of_plain(images()), of_grids(images()))


def test_groups_after_the_last_that_gives_features_are_left_out():
    encoder = ResNet(**TINY, feature_grids=(4, 2, 0, 0))
    assert encoder.output_shape == (None, 16 * 8 + 4 * 16)
    layers = {layer.name for layer in encoder.layers}
    assert not [name for name in layers if name.startswith(("block_group3", "block_group4"))]
    assert set(encoder.layer_order) <= layers


def test_feature_grids_are_saved_and_made_again(tmp_path):
    encoder = ResNet(**TINY, feature_grids=GRIDS)
    encoder(images(64), training=True)  # statistics of its own
    encoder.save(tmp_path / "encoder.keras")
    again = keras.models.load_model(tmp_path / "encoder.keras")
    assert again.get_config()["feature_grids"] == GRIDS
    np.testing.assert_array_equal(again(images()), encoder(images()))


def test_feature_grids_of_images_of_any_size():
    encoder = ResNet(18, width_multiplier=0.125, input_shape=(None, None, 3), stem="strided", feature_grids=GRIDS)
    for size in (16, 28, 45):
        assert encoder(images(2, size)).shape == (2, 256)


@pytest.mark.parametrize("grids", [(4, 2, 1), (0, 0, 0, 0), (4, -2, 2, 1), (1.5, 0, 0, 0)])
def test_bad_feature_grids_are_refused(grids):
    with pytest.raises(InputError, match=r"`feature_grids` must be four numbers of cells"):
        ResNet(**TINY, feature_grids=grids)


def test_feature_grids_and_group_norm_are_refused():
    with pytest.raises(InputError, match=r"`feature_grids` needs norm=batch"):
        ResNet(**TINY, norm="group", feature_grids=GRIDS)
