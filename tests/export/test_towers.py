"""Two towers as one SavedModel: strings and images in, for every consumer."""

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.export.serving_stub import ServingStub
from tfcontrastive.config import InputError
from tfcontrastive.encoders import TextEncoder
from tfcontrastive.export import CppError, CppSession, check_export, read_card, save_towers, serve_check
from tfcontrastive.export.graph import signature_nodes
from tfcontrastive.export.model_card import meta_graph
from tfcontrastive.towers import TwoTower, TwoTowerConfig

TEXTS = ["a red Shoe", "ein grünes Hemd", "a red shirt, a blue shoe", ""]
IMAGES = np.random.default_rng(0).random((3, 6, 6, 1), np.float32)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    images = keras.Input((6, 6, 1), name="pixels")
    x = keras.layers.BatchNormalization()(keras.layers.Flatten()(images))
    image_tower = keras.Model(images, keras.layers.Dense(6)(keras.layers.Dropout(0.5)(x)))
    texts = TextEncoder.of_texts(TEXTS, width=8, depth=1, num_heads=2, sequence_length=6)
    return TwoTower(image_tower, texts, TwoTowerConfig("siglip", proj_out_dim=5))


@pytest.fixture(scope="module")
def path(model, tmp_path_factory):
    return save_towers(model, tmp_path_factory.mktemp("towers"), card={"data": "made"})


@pytest.fixture(scope="module")
def expected(model):
    queries, keys = model.query(IMAGES), model.key(tf.constant(TEXTS))
    similarity = np.asarray(queries) @ np.asarray(keys).T
    return {
        "query": {"embedding": np.asarray(queries)},
        "key": {"embedding": np.asarray(keys)},
        "similarity": {"similarity": similarity, "logits": similarity / np.float32(model.temperature) - 10},
    }


class Refusing(keras.layers.Layer):
    """What takes no numbers that differ in no column."""

    def call(self, x):
        with tf.control_dependencies([tf.debugging.Assert(tf.reduce_any(x[:, :1] != x[:, 1:]), ["all alike"])]):
            return tf.identity(x)


def kernel_of(node):
    """The shape of a constant, None of what is none."""
    return [side.size for side in node.attr["value"].tensor.tensor_shape.dim] if node.op == "Const" else None


def close(found, expected):
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-5, rtol=1e-5, err_msg=name)


def test_a_loaded_one_gives_the_models_embeddings(path, expected):
    loaded = tf.saved_model.load(path)
    texts = tf.constant(TEXTS)
    assert set(loaded.signatures) == {"query", "key", "similarity"}
    close(loaded.signatures["query"](query=tf.constant(IMAGES)), expected["query"])
    close(loaded.signatures["key"](key=texts), expected["key"])
    close(loaded.signatures["similarity"](query=tf.constant(IMAGES), key=texts), expected["similarity"])
    close(loaded.similarity(tf.constant(IMAGES), texts), expected["similarity"])
    assert read_card(path)["signatures"]["key"]["inputs"] == {"key": {"dtype": "string", "shape": [None]}}
    assert (read_card(path)["embedding_dim"], read_card(path)["data"]) == (5, "made")


def test_batch_norm_is_folded_where_there_is_some_and_the_embeddings_stay(tmp_path):
    keras.utils.set_random_seed(0)
    images = keras.Input((6, 6, 1))
    x = keras.layers.Conv2D(4, 3, use_bias=False)(images)
    norm = keras.layers.BatchNormalization()
    tower = keras.Model(images, keras.layers.GlobalAveragePooling2D()(keras.ops.relu(norm(x))))
    norm.set_weights([np.linspace(0.5, 2, 4) + shift for shift in (0, -1, 0.3, 0)])
    texts = TextEncoder.of_texts(TEXTS, width=8, depth=1, num_heads=2, sequence_length=6)
    model = TwoTower(tower, texts, TwoTowerConfig("clip", proj_out_dim=5))
    folded, plain = (save_towers(model, tmp_path / str(how), optimize=how) for how in (None, False))

    def normalisations(path):
        return [node.op for node in signature_nodes(meta_graph(path))["query"]].count("Rsqrt")

    assert (normalisations(plain), normalisations(folded)) == (2, 1)  # the embedding's length is one
    functions = meta_graph(folded).graph_def.library.function
    kernels = [node for one in functions for node in one.node_def if kernel_of(node) == [3, 3, 1, 4]]
    assert len(kernels) == 1  # three signatures share it
    for path in (folded, plain):
        loaded = tf.saved_model.load(path)
        close(loaded.query(tf.constant(IMAGES)), {"embedding": np.asarray(model.query(IMAGES))})
    with CppSession(folded) as session:
        close(session.run("query", query=IMAGES), {"embedding": np.asarray(model.query(IMAGES))})


def test_a_keras_layer_gives_them(path, expected):
    close(keras.layers.TFSMLayer(path, call_endpoint="key")(tf.constant(TEXTS)), expected["key"])
    both = keras.layers.TFSMLayer(path, call_endpoint="similarity")
    close(both(tf.constant(IMAGES), key=tf.constant(TEXTS)), expected["similarity"])


def test_the_cpp_loader_gives_them_and_names_what_is_wrong(path, expected):
    texts = np.array([text.encode() for text in TEXTS], object)
    with CppSession(path) as session:
        close(session.run("query", query=IMAGES), expected["query"])
        close(session.run("key", key=texts), expected["key"])
        close(session.run("similarity", query=IMAGES, key=texts), expected["similarity"])
        with pytest.raises(CppError, match=r"`key` must have the shape \[any\] with no side 0"):
            session.run("key", key=np.array([], object))
        broken = session.run("key", key=np.array([b"\xff\xfe shoe", b"shoe"], object))["embedding"]
        assert np.isfinite(broken).all()


def test_no_op_is_newer_than_tensorflow_2_20_or_changes_anything(path):
    known = set((pathlib.Path(__file__).parents[1] / "fixtures" / "tensorflow_2.20_ops.txt").read_text().split())
    graph = meta_graph(path).graph_def
    functions = {function.signature.name for function in graph.library.function}
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    used = {node.op for node in nodes} - functions
    assert used - known == set()
    assert {"LookupTableFindV2", "StringLower", "MatMul"} <= used
    assert not {"PyFunc", "EagerPyFunc", "PyFuncStateless"} & used
    random = {name for name, nodes in signature_nodes(meta_graph(path)).items() if any("Random" in n.op for n in nodes)}
    assert not random


def test_a_dictionary_of_inputs_has_a_name_each(tmp_path):
    ids, mask = keras.Input((3,), dtype="int32", name="ids"), keras.Input((3,), name="mask")
    both = keras.Model({"ids": ids, "mask": mask}, keras.layers.Dense(2)(keras.ops.cast(ids, "float32") * mask))
    model = TwoTower(both, config=TwoTowerConfig("dpr"))
    loaded = tf.saved_model.load(save_towers(model, tmp_path, version=7))
    inputs = {"ids": tf.constant([[1, 2, 3]]), "mask": tf.constant([[1.0, 1.0, 0.0]])}
    found = loaded.signatures["query"](query_ids=inputs["ids"], query_mask=inputs["mask"])["embedding"]
    np.testing.assert_allclose(found, model.query(inputs), rtol=1e-6)
    np.testing.assert_allclose(loaded.key(inputs)["embedding"], found, rtol=1e-6)
    with pytest.raises(InputError, match="`version` must be new"):
        save_towers(model, tmp_path, version=7)


def test_serve_check_asks_every_consumer(path):
    with CppSession(path) as session:
        stub = ServingStub(path, session)
        try:
            checks = {check.name: check for check in check_export(path, server=stub.grpc_address)}
        finally:
            stub.close()
    assert [check for check in checks.values() if not check.passed] == []
    assert stub.batches == [2, 2, 2]
    assert checks["warm-up requests"].detail == "3 requests replayed in the C++ session"
    assert checks["C++ session"].detail.startswith("key, query, similarity within 1e-05")


def test_serve_check_asks_towers_of_dictionaries_and_finds_other_weights(tmp_path, monkeypatch):
    ids, mask = keras.Input((None,), dtype="int32", name="ids"), keras.Input((None,), name="mask")
    both = keras.ops.sum(keras.ops.cast(ids, "float32") * mask, axis=1, keepdims=True)
    tower = keras.Model({"ids": ids, "mask": mask}, keras.layers.Dense(2)(both))
    path = save_towers(TwoTower(tower, config=TwoTowerConfig("dpr")), tmp_path)
    names = ("signatures", "keras.layers.TFSMLayer")
    monkeypatch.setattr(serve_check, "_TOWER_CHECKS", {name: serve_check._TOWER_CHECKS[name] for name in names})
    assert all(check.passed for check in check_export(path))
    layer = keras.layers.TFSMLayer.call
    monkeypatch.setattr(
        keras.layers.TFSMLayer, "call", lambda *args: {name: 1.1 * x for name, x in layer(*args).items()}
    )
    (check,) = (check for check in check_export(path) if not check.passed)
    assert "embedding differs by" in check.detail


def test_towers_that_refuse_made_inputs_have_no_warm_up(tmp_path, caplog):
    numbers = keras.Input((2,))
    both = keras.Model(numbers, keras.layers.Dense(2)(Refusing()(numbers)))
    path = save_towers(TwoTower(both, config=TwoTowerConfig("dpr")), tmp_path)
    assert "no warm-up requests: the towers do not take made inputs (InvalidArgumentError)" in caplog.text
    assert not pathlib.Path(path, "assets.extra").exists()


def test_another_model_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"`model` must be a TwoTower\. Received: Sequential"):
        save_towers(keras.Sequential(), tmp_path)
