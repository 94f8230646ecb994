"""Texts to vectors: the words that a text is cut into, padding, saving, and keras_hub's backbones."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive.config import InputError
from tfcontrastive.encoders import TextEncoder, hub_text_encoder
from tfcontrastive.encoders.text import standardize
from tfcontrastive.encoders.text_layers import MaskedMean

WORDS = ["red", "shoe", "été", "2"]
SMALL = {"width": 8, "depth": 1, "num_heads": 2, "sequence_length": 5}


@pytest.fixture(scope="module", params=["mean", "token"])
def encoder(request):
    keras.utils.set_random_seed(0)
    return TextEncoder(WORDS, pool=request.param, **SMALL)


def test_texts_are_cut_into_lower_case_words_of_any_script():
    found = standardize(tf.constant(["It's a Well-known CAFÉ -- №2!", "ΣΟΦΙΑ, Москва", "", b"\xffA"]))
    assert [text.decode().split() for text in found.numpy()] == [
        ["it", "s", "a", "well", "known", "café", "2"],
        ["σοφια", "москва"],
        [],
        ["a"],
    ]


def test_the_words_of_the_vocabulary_are_told_apart_and_all_others_are_one(encoder):
    ids = encoder.get_layer("vectorize")(tf.constant(["Red SHOE, Été 2", "blue red", ""]))
    assert ids.numpy().tolist() == [[2, 3, 4, 5, 0], [1, 2, 0, 0, 0], [0, 0, 0, 0, 0]]


def test_padding_changes_nothing_and_what_is_too_long_is_left_out(encoder):
    long = TextEncoder(WORDS, pool=encoder.get_config()["pool"], **{**SMALL, "sequence_length": 9})
    tokens = long.get_layer("tokens")
    for new, old in zip(long.weights, encoder.weights, strict=True):
        if new is tokens.places:
            new.assign(np.concatenate([old, np.full([4, 8], 7.0)]))
        else:
            new.assign(old)
    texts = tf.constant(["red", "shoe red", "red shoe red 2 red", ""])
    np.testing.assert_allclose(long(texts), encoder(texts), atol=1e-5)
    cut = encoder(tf.constant(["red red red red red shoe shoe", "red red red red red"]))
    np.testing.assert_array_equal(cut[0], cut[1])


def test_words_and_their_order_make_the_vector(encoder):
    vectors = encoder(tf.constant(["red shoe", "shoe red", "red", "blue", "green"])).numpy()
    for i, j in ((0, 1), (0, 2), (2, 3)):
        assert np.abs(vectors[i] - vectors[j]).max() > 1e-3
    np.testing.assert_allclose(vectors[3], vectors[4], atol=1e-6)
    assert np.isfinite(encoder(tf.constant([""]))).all()


def test_keras_saves_and_loads_it_with_its_words(encoder, tmp_path):
    encoder.save(tmp_path / "text.keras")
    loaded = keras.saving.load_model(tmp_path / "text.keras")
    texts = tf.constant(["red shoe", "blue"])
    np.testing.assert_array_equal(loaded(texts), encoder(texts))
    assert loaded.get_config() == encoder.get_config()


@pytest.mark.parametrize("form", [list, np.array, lambda texts: tf.data.Dataset.from_tensor_slices(texts).batch(2)])
def test_the_most_frequent_words_are_the_vocabulary(form):
    made = TextEncoder.of_texts(form(["a shoe", "A red shoe!", "a shirt"]), vocabulary_size=2, **SMALL)
    assert made.get_config()["vocabulary"] == ["a", "shoe"]


def test_characters_where_there_are_no_spaces():
    made = TextEncoder.of_texts(["東京都", "京都"], split="characters", vocabulary_size=2, **SMALL)
    assert made.get_config()["vocabulary"] == ["都", "京"]
    assert made.get_layer("vectorize")(tf.constant(["京都 x"])).numpy().tolist() == [[3, 2, 1, 1, 0]]


def test_the_mean_is_of_what_counts():
    tokens = np.random.default_rng(0).normal(size=(3, 4, 2)).astype(np.float32)
    counts = np.array([[1, 1, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0]])
    expected = [tokens[0, :2].mean(axis=0), tokens[1, 1:].mean(axis=0), [0, 0]]
    np.testing.assert_allclose(MaskedMean()(tokens, counts), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 9}, "`width` must be a multiple of num_heads, 2"),
        ({"depth": 0}, "`depth` must be >= 1"),
        ({"dropout": 1.0}, r"`dropout` must lie in \[0, 1\)"),
        ({"pool": "first"}, "`pool` must be one of mean, token"),
        ({"split": "word"}, "Did you mean 'words'"),
        ({"vocabulary": []}, "`vocabulary` must hold one token or more"),
        ({"vocabulary": ["a", "a"]}, "each once. Received: 2 tokens, 1 different"),
        ({"vocabulary": ["a", "Shoe"]}, "Received: 1 that no text has, such as 'Shoe'"),
        ({"vocabulary": ["red shoe"]}, "such as 'red shoe'"),
        ({"vocabulary": [""]}, "such as ''"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_it_is_refused_in_one_line(arguments, message):
    with pytest.raises(InputError, match=message):
        TextEncoder(**{"vocabulary": WORDS, **SMALL, **arguments})


@pytest.fixture(scope="module")
def bert():
    import keras_hub

    keras.utils.set_random_seed(0)
    sizes = {"num_layers": 1, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 16}
    return keras_hub.models.BertBackbone(vocabulary_size=30, max_sequence_length=6, **sizes)


def test_a_backbone_of_keras_hub_is_pooled(bert):
    inputs = {
        "token_ids": tf.constant([[2, 5, 7, 3, 0, 0], [2, 9, 3, 0, 0, 0]]),
        "segment_ids": tf.zeros([2, 6], tf.int32),
        "padding_mask": tf.constant([[1, 1, 1, 1, 0, 0], [1, 1, 1, 0, 0, 0]]),
    }
    tokens = np.asarray(bert(inputs)["sequence_output"])
    mean = [tokens[0, :4].mean(axis=0), tokens[1, :3].mean(axis=0)]
    np.testing.assert_allclose(hub_text_encoder(bert)(inputs), mean, atol=1e-6)
    np.testing.assert_allclose(hub_text_encoder(bert, pool="token")(inputs), tokens[:, 0], atol=1e-6)


def test_what_is_no_backbone_of_texts_is_refused():
    with pytest.raises(InputError, match=r"`backbone` must be one of keras_hub's of texts.*Received: Sequential"):
        hub_text_encoder(keras.Sequential())
    with pytest.raises(InputError, match="`pool` must be one of"):
        hub_text_encoder(keras.Sequential(), pool="max")
