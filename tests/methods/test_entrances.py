"""What may enter a model: the same verdict, in one line, wherever images, views and labels come in."""

import functools
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

import tfcontrastive
from tests.methods.cases import SIZE, batches, make_model, tiny_encoder
from tfcontrastive import data
from tfcontrastive.config import InputError

IMAGES = np.random.default_rng(0).integers(0, 256, (8, SIZE, SIZE, 3), np.uint8)
FLOATS = IMAGES / np.float32(255)
LABELS = np.arange(8) % 3
ONE_HOT = np.eye(3, dtype=np.float32)[LABELS]
of_slices = tf.data.Dataset.from_tensor_slices


def model(kind=tfcontrastive.SimCLR, channels=3, jit=False, encoder=None, **options):
    keras.utils.set_random_seed(0)
    made = kind(encoder or tiny_encoder(channels), **options)
    made.compile(keras.optimizers.SGD(0.05), jit_compile=jit)
    return made


def with_nan(rows=8):
    images = FLOATS[:rows].copy()
    images[5, 0, 0, 0] = np.nan
    return images


def refused(call, match):
    """The call ends in an InputError of one line that says `match`."""
    with pytest.raises(InputError, match=match) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert "Received: " in str(caught.value)


# Entrances: each takes an array of images and says what it makes of them, as features or as a loss.


@functools.cache
def refusing():
    return model()  # one for all: what is refused changes nothing


def entrances(images):
    trained, channels = refusing(), 3
    return {
        "fit": lambda: trained.fit(images, batch_size=4, verbose=0),
        "evaluate": lambda: trained.evaluate(images, batch_size=4, verbose=0),
        "train_on_batch": lambda: trained.train_on_batch(images),
        "test_on_batch": lambda: trained.test_on_batch(images),
        "predict": lambda: trained.predict(images, batch_size=4, verbose=0),
        "predict_on_batch": lambda: trained.predict_on_batch(images),
        "validation_data": lambda: trained.fit(IMAGES, batch_size=4, verbose=0, validation_data=(images, None)),
        "ArraySource": lambda: data.ArraySource({"train": (images, None)}, name=f"channels {channels}"),
    }


BAD = {
    "pixels_0_to_255": (IMAGES.astype(np.float32), r"float images must lie in \[0, 1\]. Received: 0 to 255"),
    "normalised": (FLOATS * 4 - 2, r"float images must lie in \[0, 1\]. Received: -2 to 2"),
    "nan": (with_nan(), "NaN or infinity"),
    "infinity": (np.where(with_nan() == with_nan(), FLOATS, np.inf), "NaN or infinity"),
    "wide_integers": (IMAGES.astype(np.int64) * 16, r"integers must lie in 0..255. Received: 0 to 40\d\d"),
    "negative_integers": (IMAGES.astype(np.int16) - 1, "integers must lie in 0..255. Received: -1 to 25"),
    "booleans": (IMAGES > 99, "uint8, integers in 0..255, or float in .* Received: dtype=bool"),
    "channels_first": (np.moveaxis(IMAGES, -1, 1), r"channels last, .*moveaxis"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("entrance", entrances(IMAGES))
def test_bad_arrays_are_refused_at_every_entrance(entrance, case):
    images, match = BAD[case]
    refused(entrances(images)[entrance], match)


@pytest.mark.parametrize("form", ["graph", "xla", "several_steps", "eager", "two_replicas"])
def test_one_nan_image_of_a_data_set_is_not_trained_on(form, two_replicas):
    if form == "two_replicas":
        with two_replicas.scope():
            made = model()
    else:
        made = model(jit=form == "xla")
        made.steps_per_execution = 2 if form == "several_steps" else 1
        made.run_eagerly = form == "eager"
    before = [np.array(variable) for variable in made.trainable_variables]
    refused(
        lambda: made.fit(of_slices(with_nan()).skip(4).batch(4, drop_remainder=True), verbose=0),
        r"float images must lie in \[0, 1\]. Received: NaN or infinity",
    )
    for one, two in zip(before, made.trainable_variables, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
def test_integers_of_any_width_are_pixels(dtype):
    images = np.minimum(IMAGES, 127) if dtype is np.int8 else IMAGES
    expected, _ = model().make_views(tf.constant(images))
    made, _ = model().make_views(tf.constant(images.astype(dtype)))
    for one, two in zip(made, expected, strict=True):
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(model().augment_images(tf.constant(images.astype(dtype)))[0], expected[0])
    features = model().predict(images, verbose=0)
    np.testing.assert_array_equal(model().predict(images.astype(dtype), verbose=0), features)
    np.testing.assert_allclose(features, model().predict(images / np.float32(255), verbose=0), rtol=1e-5, atol=1e-6)
    source = data.ArraySource({"train": (images.astype(dtype), None)})
    np.testing.assert_array_equal(source.arrays("train")[0], images)


@st.composite
def arrays(draw):
    """Arrays of images as people have them: any type, range, rank and layout; two at least, 8 x 6 pixels."""
    shape = draw(
        st.sampled_from([(2, 8, 6, 3), (2, 3, 8, 6), (2, 8, 6), (2, 8, 6, 1), (2, 8, 6, 4), (8, 6, 3), (2, 8)])
    )
    dtype = draw(st.sampled_from(["uint8", "int32", "int64", "uint16", "float16", "float32", "float64", "bool"]))
    low, high = draw(st.sampled_from([(0, 1), (0, 255), (-1, 1), (0, 4095), (0, 1.0004)]))
    values = low + (high - low) * np.linspace(0, 1, int(np.prod(shape))).reshape(shape)
    if dtype.startswith("u"):
        values = np.clip(values, 0, np.iinfo(dtype).max)
    images = values.astype(dtype)
    if dtype.startswith("float") and draw(st.booleans()):
        images.flat[draw(st.integers(0, images.size - 1))] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    return images


def verdict(call):
    try:
        return call(), None
    except InputError as error:
        return None, str(error)


@pytest.fixture(scope="module")
def color():
    pixels = keras.Input((8, 6, 3))
    return model(encoder=keras.Model(pixels, keras.layers.Flatten()(pixels)))  # features are the pixels


@settings(max_examples=25)
@given(arrays())
@example(np.zeros((2, 8, 6, 3), np.int64))
def test_arrays_have_the_same_verdict_and_pixels_at_every_entrance(color, tmp_path_factory, images):
    path = str(tmp_path_factory.mktemp("npz") / "data.npz")
    np.savez(path, images=images)
    held, of_source = verdict(lambda: data.load(f"npz:{path}").arrays("train")[0])
    features, of_predict = verdict(lambda: color.predict(images, verbose=0))
    _, of_fit = verdict(lambda: color.fit(images, batch_size=2, verbose=0))
    in_graph, of_data = verdict(lambda: color.predict(tf.data.Dataset.from_tensors(images), verbose=0))
    assert (of_fit is None) == (of_predict is None) == (of_data is None)
    assert not any("\n" in line for line in (of_source, of_predict, of_fit, of_data) if line)
    if images.ndim == 4 and 3 in images.shape[1:]:  # what the encoder, too, could take
        assert (of_fit is None) == (of_source is None)
    if of_fit is None:
        exact = images / 255 if np.issubdtype(images.dtype, np.integer) else images.astype(np.float64)
        np.testing.assert_allclose(features.reshape(images.shape), exact, atol=1e-3)
        np.testing.assert_allclose(in_graph.reshape(images.shape), exact, atol=1e-3)
        np.testing.assert_allclose(held, exact * 255, atol=0.6)


@pytest.mark.usefixtures("eagerly")
def test_a_model_of_images_of_any_size_takes_several_sizes_one_after_another():
    pixels = keras.Input((None, None, 3))
    made = model(encoder=keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(pixels)))
    for size in (4, 6, 8, 10):
        images = np.full((4, size, size, 3), 51, np.uint8)
        made.fit(images, verbose=0)
        np.testing.assert_allclose(made.predict(images, verbose=0), 0.2, rtol=1e-5)
    varied = tf.data.Dataset.from_generator(
        lambda: iter([images[:, :4], images]), output_signature=tf.TensorSpec([None, None, None, 3], tf.uint8)
    )
    np.testing.assert_allclose(made.predict(varied, verbose=0), 0.2, rtol=1e-5)


# Labels.


def history(kind, labels, as_data_set):
    batch = {"views": (IMAGES, IMAGES[:, ::-1]), "label": labels}
    given = (tf.data.Dataset.from_tensors(batch),) if as_data_set else (IMAGES, labels)
    size = None if as_data_set else 8
    return model(kind, num_classes=3).fit(*given, batch_size=size, shuffle=False, verbose=0).history


@functools.cache
def history_of_integers(kind, as_data_set):
    return history(kind, LABELS, as_data_set)


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("labels", [ONE_HOT, ONE_HOT.astype(np.int64), ONE_HOT > 0, LABELS[:, None]])
@pytest.mark.parametrize("kind", [tfcontrastive.SimCLR, tfcontrastive.SupCon])
@pytest.mark.parametrize("as_data_set", [False, True])
def test_one_hot_labels_train_as_integers_do(kind, labels, as_data_set):
    assert history(kind, labels, as_data_set) == history_of_integers(kind, as_data_set)


def test_one_hot_labels_of_two_classes_are_not_those_of_two_views():
    y = np.eye(2, dtype=np.float32)[LABELS % 2]
    _, batch = model(num_classes=2).make_views((tf.constant(IMAGES), tf.constant(y)))
    np.testing.assert_array_equal(batch["label"], LABELS % 2)


def test_arrays_of_a_source_may_have_one_hot_labels():
    source = data.ArraySource({"train": (IMAGES, ONE_HOT)})
    np.testing.assert_array_equal(source.arrays("train")[1], LABELS)
    assert source.num_classes == 3


BAD_LABELS = {
    "out_of_range": (LABELS + 1, r"labels must be in 0..2.* Received: 1\b.*3"),
    "floats": (LABELS.astype(np.float32), "labels must be integers"),
    "soft": (0.9 * ONE_HOT + 0.05, "one-hot labels must have one 1|labels must be integers"),
    "two_hot": (np.ones_like(ONE_HOT), "one-hot labels must have one 1"),
    "strings": (LABELS.astype(str), "labels must be integers"),
    "of_other_width": (np.eye(4)[LABELS], "labels must be"),
}


@pytest.mark.parametrize("case", BAD_LABELS)
@pytest.mark.parametrize("form", ["array", "data_set", "xla", "evaluate"])
def test_labels_that_do_not_fit_are_refused(case, form):
    labels, match = BAD_LABELS[case]
    made = model(num_classes=3, jit=form == "xla")
    if form == "array":
        refused(lambda: made.fit(IMAGES, labels, batch_size=4, verbose=0), match)
    elif form == "evaluate":
        refused(lambda: made.evaluate(IMAGES, labels, batch_size=4, verbose=0), match)
    else:
        refused(lambda: made.fit(of_slices((IMAGES, labels)).batch(4), verbose=0), match)


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("kind", [tfcontrastive.SupCon])
def test_a_method_that_learns_from_labels_refuses_data_without(kind):
    refused(lambda: model(kind).fit(IMAGES, batch_size=4, verbose=0), "SupCon needs `label`")
    refused(lambda: model(kind).fit(of_slices(IMAGES).batch(4), verbose=0), "SupCon needs `label`")
    none = np.full(8, -1)
    refused(lambda: model(kind).fit(of_slices((IMAGES, none)).batch(4), verbose=0), "SupCon needs labels")
    refused(lambda: model(kind).fit(IMAGES, none, batch_size=4, verbose=0), "SupCon needs labels")
    some = np.where(np.arange(8) < 6, -1, 0)
    model(kind).fit(of_slices((IMAGES, some)).batch(4), verbose=0)


# Forms of a data set's elements.


@pytest.mark.parametrize(
    "element", [(IMAGES, LABELS), {"image": IMAGES, "label": LABELS}, ({"image": IMAGES}, LABELS), (FLOATS, ONE_HOT)]
)
def test_forms_of_labelled_images_are_one(element):
    views, batch = model(num_classes=3).make_views(tf.nest.map_structure(tf.constant, element))
    expected = model().augment_images(tf.constant(IMAGES))
    for one, two in zip(views, expected, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)
    np.testing.assert_array_equal(batch["label"], LABELS)


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_two_image_tensors_are_two_views(labelled, dtype):
    one, two = (FLOATS, 1 - FLOATS) if dtype is np.float32 else (IMAGES, 255 - IMAGES)
    element = (one, two, LABELS) if labelled else (one, two)
    views, batch = model(num_classes=3).make_views(tf.nest.map_structure(tf.constant, element))
    np.testing.assert_allclose(views, [FLOATS, 1 - FLOATS], atol=1e-6)
    np.testing.assert_array_equal(batch["label"], LABELS if labelled else [-1] * 8)
    pair = of_slices(FLOATS).batch(8).map(lambda x: (x, 1 - x))
    together = of_slices(FLOATS).batch(8).map(lambda x: ((x, 1 - x), tf.fill([8], -1)))
    assert model().fit(pair, verbose=0).history == model().fit(together, verbose=0).history
    assert model().fit(FLOATS, 1 - FLOATS, shuffle=False, verbose=0).history == model().fit(pair, verbose=0).history


def unknown_size(shape):
    spec = (tf.TensorSpec([None, *shape], tf.uint8), tf.TensorSpec([None], tf.int32))
    return tf.data.Dataset.from_generator(lambda: iter([(IMAGES, LABELS.astype(np.int32))]), output_signature=spec)


FORMS = {
    "not_batched": (of_slices((IMAGES, LABELS)), "dataset.batch"),
    "unknown_size": (unknown_size([None, None, 3]), "tf.ensure_shape"),
    "unknown_channels": (unknown_size([SIZE, SIZE, None]), None),
    "wrong_channels": (unknown_size([SIZE, SIZE, None]).map(lambda x, y: (x[..., :2], y)), "must have 3 channels"),
    "channels": (of_slices(IMAGES[..., :1]).batch(4), r"\[N, H, W, 3\], as the encoder takes them"),
    "size": (of_slices(IMAGES[:, :4]).batch(4), "8 x 8 pixels"),
    "dictionary": (of_slices({"picture": IMAGES}).batch(4), "must hold `image`.* Received: picture"),
    "weights": (of_slices((IMAGES, LABELS, np.ones(8))).batch(4), "sample_weight"),
    "ragged": (of_slices(IMAGES).map(lambda x: tf.RaggedTensor.from_tensor(x)).ragged_batch(4), "dense"),
    "strings": (of_slices(np.full((8, SIZE, SIZE, 3), "a")).batch(4), "dtype=string"),
    "masks": (of_slices((IMAGES, IMAGES[..., :1])).batch(4), r"`y` must be labels \[B\], or views"),
    "bytes_as_views": (
        of_slices((IMAGES * np.float32(1), IMAGES * np.float32(1))).batch(4),
        "Divide 8-bit pixels by 255",
    ),
    "nan_in_a_view": (of_slices((FLOATS, with_nan())).batch(4), "finite"),
    "seeds": (batches(1).map(lambda b: {**b, "views": tuple(255 * v for v in b["views"])}), r"must lie in \[0, 1\]"),
}


OF_ELEMENTS = {"unknown_size": None, "wrong_channels": r"\[N, H, W, 3\], as the encoder takes them"}
"""What is known of those elements where Keras traces a step for the element itself, not for all of its dataset."""


@functools.cache
def traces_elements():
    """Whether it does: from 3.16 on."""
    sizes = []

    class Seen(keras.Model):
        def train_step(self, data):
            sizes.append(data[0].shape[1])
            return {"loss": tf.zeros([])}

    seen = Seen()
    seen.compile()
    seen.fit(unknown_size([None, None, 3]), verbose=0)
    return sizes[0] is not None


@pytest.mark.parametrize("case", FORMS)
def test_elements_of_other_forms_are_refused(case):
    elements, match = FORMS[case]
    if case in OF_ELEMENTS and traces_elements():
        match = OF_ELEMENTS[case]
    if match is None:
        model(num_classes=3).fit(elements, verbose=0)  # it is what the encoder takes
    else:
        refused(lambda: model(num_classes=3).fit(elements, verbose=0), match)


@pytest.mark.parametrize("count", [1, 3])
def test_a_method_of_two_views_refuses_another_number(count):
    views = tuple(FLOATS for _ in range(count))
    refused(
        lambda: make_model("moco").fit(tf.data.Dataset.from_tensors((views, LABELS)), verbose=0),
        rf"takes 2 views of an image. Received: {count}",
    )


@pytest.mark.parametrize("case", ["simclr", "moco_v3", "byol", "relic", "barlow_twins"])
def test_methods_that_compare_views_refuse_one_alone(case):
    refused(
        lambda: make_model(case).fit(tf.data.Dataset.from_tensors(((FLOATS,), LABELS)), verbose=0),
        r"takes 2 views of an image or more. Received: 1",
    )


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("case", ["supcon", "instdisc"])
def test_methods_of_any_number_of_views_take_three(case):
    batch = {"views": (FLOATS, FLOATS, FLOATS), "label": LABELS, "index": np.arange(8)}
    history = make_model(case).fit(tf.data.Dataset.from_tensors(batch), verbose=0).history
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize("case", ["simclr", "moco_v3", "relic", "supcon", "barlow_twins"])
def test_methods_that_compare_images_refuse_a_batch_of_one(case):
    refused(
        lambda: make_model(case).fit(tf.data.Dataset.from_tensors((FLOATS[:1], LABELS[:1])), verbose=0),
        "a batch must hold 2 or more. Received: 1",
    )
    refused(lambda: make_model(case).fit(FLOATS, LABELS, batch_size=1, verbose=0), "a batch must hold 2 or more")


# What no method takes.


@pytest.mark.parametrize("name", ["sample_weight", "class_weight"])
def test_weights_of_images_are_refused(name):
    value = np.ones(8) if name == "sample_weight" else {0: 1.0}
    for call in (model(num_classes=3).fit, model(num_classes=3).train_on_batch):
        refused(lambda call=call: call(IMAGES, LABELS, **{name: value}), f"`{name}` must be None")


@pytest.mark.parametrize("options", [{"loss": "mse"}, {"metrics": ["accuracy"]}, {"weighted_metrics": ["accuracy"]}])
def test_losses_and_metrics_of_another_kind_are_refused(options):
    refused(lambda: tfcontrastive.SimCLR(tiny_encoder()).compile("sgd", **options), "must be None: SimCLR has a loss")


def test_a_data_set_is_taken_without_a_warning_about_its_order():
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*shuffle")
        model().fit(of_slices(IMAGES).batch(4), verbose=0)
