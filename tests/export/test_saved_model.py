"""What `save_model` writes, as TensorFlow's own loader sees it."""

import json
import os
from concurrent import futures

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive.config import InputError
from tfcontrastive.encoders import BatchNorm, ResNet
from tfcontrastive.export import latest_version, model_digest, save_model
from tfcontrastive.export.graph import signature_nodes
from tfcontrastive.export.model_card import meta_graph
from tfcontrastive.methods.simclr import SimCLR, SimCLRConfig

PYTHON_OPS = {"PyFunc", "PyFuncStateless", "EagerPyFunc", "NumpyFunction"}


def graph_ops(path):
    meta = tf.compat.v1.saved_model.loader.load
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        definition = meta(session, ["serve"], path).graph_def
    nodes = [*definition.node, *(node for function in definition.library.function for node in function.node_def)]
    return {node.op for node in nodes}


def test_call_equals_the_encoder(encoder, exported, images):
    np.testing.assert_allclose(tf.saved_model.load(exported)(images), encoder(images), atol=1e-6)


def test_call_takes_any_batch_and_size(encoder, exported):
    images = np.random.RandomState(0).rand(2, 24, 20, 3).astype("float32")
    np.testing.assert_allclose(tf.saved_model.load(exported)(images), encoder(images), atol=1e-6)


def test_training_call_updates_the_moving_statistics(exported, images):
    loaded = tf.saved_model.load(exported)
    before = [variable.numpy() for variable in loaded.variables]
    loaded(images, training=True)
    assert sum((a != b.numpy()).any() for a, b in zip(before, loaded.variables, strict=True)) == 2


def test_variables_are_the_encoders(encoder, exported):
    loaded = tf.saved_model.load(exported)
    assert len(loaded.variables) == len(encoder.variables)
    assert len(loaded.trainable_variables) == len(encoder.trainable_variables)
    np.testing.assert_allclose(sum(loss() for loss in loaded.regularization_losses), sum(encoder.losses), rtol=1e-6)


def test_signatures(exported):
    loaded = tf.saved_model.load(exported)
    assert set(loaded.signatures) == {"serving_default", "image_bytes", "features", "serve_training"}
    for signature in loaded.signatures.values():
        assert {spec.dtype for spec in signature.structured_outputs.values()} == {tf.float32}
        assert {"embedding", "embedding_l2"} <= set(signature.structured_outputs)


def test_embedding_l2_has_unit_length_and_a_zero_vector_stays_zero(exported, images):
    serve = tf.saved_model.load(exported)
    *_, kernel, bias = serve.variables
    bias.assign(tf.zeros_like(bias))
    for scale, length in ((0.0, 0.0), (1e-6, 1.0)):
        kernel.assign(tf.fill(kernel.shape, scale))
        # Not by serving_default, which keeps the weights of the export.
        vectors = serve.signatures["features"](images=tf.constant(images))["embedding_l2"]
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), length, rtol=1e-4)


def test_features_of_a_contrastive_model(make_encoder, images, tmp_path):
    model = SimCLR(make_encoder(), SimCLRConfig(proj_out_dim=5), num_classes=4)
    path = save_model(model, tmp_path)
    loaded = tf.saved_model.load(path)
    outputs = loaded.signatures["features"](images=tf.constant(images))
    features = model.encoder(images)
    np.testing.assert_allclose(outputs["final_avg_pool"], features, atol=1e-6)
    np.testing.assert_allclose(outputs["proj_head_input"], features, atol=1e-6)
    np.testing.assert_allclose(outputs["proj_head_output"], model.projection_head(features), atol=1e-6)
    np.testing.assert_allclose(outputs["logits_sup"], model.probe(features), atol=1e-6)
    assert outputs["initial_conv"].shape == (3, 16, 16, 4)
    assert outputs["block_group1"].shape == (3, 8, 8, 6)
    assert len(loaded.variables) == len(model.encoder.variables), "fine-tuning must not see the head"
    with open(os.path.join(path, "model_card.json"), encoding="utf-8") as file:
        card = json.load(file)
    assert card["method"] == "SimCLR"
    assert card["config"]["proj_out_dim"] == 5


def test_a_probe_can_be_given(encoder, images, tmp_path):
    probe = keras.layers.Dense(3)
    probe.build((None, 6))
    outputs = tf.saved_model.load(save_model(encoder, tmp_path, probe=probe)).signatures["features"](
        images=tf.constant(images)
    )
    np.testing.assert_allclose(outputs["logits_sup"], probe(encoder(images)), atol=1e-6)


def test_training_signature_uses_batch_statistics(encoder, exported, images):
    loaded = tf.saved_model.load(exported)
    trained = loaded.signatures["serve_training"](images=tf.constant(images))["embedding"]
    plain = loaded.signatures["serving_default"](images=tf.constant(images))["embedding"]
    assert np.abs(trained - plain).max() > 1e-3


def noisy_encoder():
    """Assigns in training mode (statistics, the seed of its dropout) and in inference mode (statistics of a layer that is
    always in training mode)."""
    images = keras.Input((16, 16, 3))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(images), training=True)
    x = BatchNorm()(keras.layers.Dropout(0.5)(x))
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(x))


@pytest.mark.parametrize("optimize", [False, True])
def test_no_signature_assigns(tmp_path, optimize):
    path = save_model(SimCLR(noisy_encoder(), SimCLRConfig(proj_out_dim=5), num_classes=4), tmp_path, optimize=optimize)
    nodes = signature_nodes(meta_graph(path))
    assert set(nodes) == {"serving_default", "image_bytes", "features", "serve_training"}
    for name, found in nodes.items():
        assert "Conv2D" in {node.op for node in found}, name
        assert not [node.op for node in found if "Assign" in node.op], name


def test_a_training_request_leaves_everybodys_vectors_alone(exported, images):
    loaded = tf.saved_model.load(exported)
    before = loaded.signatures["serving_default"](images=tf.constant(images))["embedding"]
    loaded.signatures["serve_training"](images=tf.zeros_like(images))
    after = loaded.signatures["serving_default"](images=tf.constant(images))["embedding"]
    np.testing.assert_array_equal(before, after)


def test_every_weight_is_stored_once(exported):
    loaded, path = tf.saved_model.load(exported), os.path.join(exported, "variables", "variables")
    shapes = tf.train.load_checkpoint(path).get_variable_to_shape_map()
    assert sorted(name.split("/")[0] for name in shapes if name != "_CHECKPOINTABLE_OBJECT_GRAPH") == sorted(
        ["variables"] * len(loaded.variables) + ["other_variables"] * len(loaded.other_variables)
    )


def test_tables_and_variables_that_keras_does_not_see_are_exported(make_encoder, images, tmp_path):
    class Scale(keras.layers.Layer):
        def build(self, shape):
            pairs = tf.lookup.KeyValueTensorInitializer([0, 1], [2.0, 3.0])
            self.table, self.factor = tf.lookup.StaticHashTable(pairs, 0.0), tf.Variable(2.0)

        def call(self, x):
            return x * self.table.lookup(tf.constant(1)) * self.factor

    encoder = make_encoder()
    inputs = keras.Input((16, 16, 3))
    loaded = tf.saved_model.load(save_model(keras.Model(inputs, Scale()(encoder(inputs))), tmp_path))
    np.testing.assert_allclose(loaded(tf.constant(images)), 6 * encoder(images), rtol=1e-5, atol=1e-6)


def test_assignments_that_keras_does_not_see_are_refused(make_encoder, tmp_path):
    class Counter(keras.layers.Layer):
        def build(self, shape):
            self.calls = tf.Variable(0.0)

        def call(self, x):
            self.calls.assign_add(1.0)
            return x

    images = keras.Input((16, 16, 3))
    with pytest.raises(InputError, match=r"state in Keras variables.*AssignAddVariableOp"):
        save_model(keras.Model(images, Counter()(make_encoder()(images))), tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("signature", ["serving_default", "features", "serve_training"])
def test_xla_compiles(exported, images, signature):
    loaded = tf.saved_model.load(exported)
    serve = loaded.signatures[signature]
    compiled = tf.function(serve, jit_compile=True)(images=tf.constant(images))
    for name, expected in serve(images=tf.constant(images)).items():
        np.testing.assert_allclose(compiled[name], expected, rtol=1e-4, atol=1e-5, err_msg=name)


def inference_graph(path, images):
    """The nodes that run for one request, after TensorFlow's optimisations."""
    metadata = tf.compat.v1.RunMetadata()
    options = tf.compat.v1.RunOptions(output_partition_graphs=True)
    signature = meta_graph(path).signature_def["serving_default"]
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        tf.compat.v1.saved_model.loader.load(session, ["serve"], path)
        session.run(signature.outputs["embedding"].name, {signature.inputs["images"].name: images}, options, metadata)
    graphs = metadata.partition_graphs
    return [node for g in graphs for node in [*g.node, *(n for f in g.library.function for n in f.node_def)]]


@pytest.mark.parametrize("ours", [True, False])
def test_one_image_meets_no_convolution_fused_with_a_normalisation(make_encoder, exported, images, tmp_path, ours):
    """oneDNN runs that op at batch size 1, without AVX-512, as reference code."""
    path = save_model(ResNet(18, 0.0625, input_shape=(16, 16, 3)), tmp_path) if ours else exported
    nodes = inference_graph(path, images[:1])
    assert any("Conv2D" in node.op for node in nodes)
    assert not [node.name for node in nodes if b"FusedBatchNorm" in node.attr["fused_ops"].list.s]


def test_no_python_op_in_the_graph(exported):
    assert not PYTHON_OPS & graph_ops(exported)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_gives_float32(make_encoder, images, tmp_path, policy):
    encoder = make_encoder(dtype=policy)
    loaded = tf.saved_model.load(save_model(encoder, tmp_path))
    for signature in ("serving_default", "features"):
        assert {v.dtype for v in loaded.signatures[signature](images=tf.constant(images)).values()} == {tf.float32}
    np.testing.assert_allclose(loaded(images), tf.cast(encoder(images), tf.float32), atol=2e-2)


def test_made_under_replicas(two_replicas, make_encoder, images, tmp_path):
    with two_replicas.scope():
        encoder = make_encoder()
    path = save_model(encoder, tmp_path)
    np.testing.assert_allclose(tf.saved_model.load(path)(images), encoder(images), atol=1e-6)
    assert not [op for op in graph_ops(path) if op.startswith(("Collective", "Nccl"))]


def test_inside_the_scope_is_as_outside(two_replicas, images, tmp_path):
    with two_replicas.scope():
        norm = keras.layers.BatchNormalization(synchronized=True)  # a collective of its own
        inputs = keras.Input((None, None, 3))
        outputs = keras.layers.GlobalAveragePooling2D()(norm(keras.layers.Conv2D(4, 3)(inputs)))
        encoder = keras.Model(inputs, outputs)
        path = save_model(encoder, tmp_path)
    np.testing.assert_allclose(tf.saved_model.load(path)(images), encoder(images), atol=1e-6)


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_other_channel_counts(make_encoder, tmp_path, channels):
    encoder = make_encoder((None, None, channels))
    images = np.random.RandomState(0).rand(2, 16, 16, channels).astype("float32")
    loaded = tf.saved_model.load(save_model(encoder, tmp_path))
    np.testing.assert_allclose(loaded(images), encoder(images), atol=1e-6)
    assert ("image_bytes" in loaded.signatures) == (channels == 1)


def test_a_subclassed_encoder(make_encoder, images, tmp_path):
    class Wrapper(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = make_encoder()

        def call(self, images, training=False):
            return 2 * self.inner(images, training=training)

    encoder = Wrapper()
    encoder(images)
    loaded = tf.saved_model.load(save_model(encoder, tmp_path))
    np.testing.assert_allclose(loaded(images[:2, :8]), encoder(images[:2, :8]), atol=1e-6)


def test_versions_count_up_and_are_never_overwritten(encoder, tmp_path):
    assert save_model(encoder, tmp_path) == str(tmp_path / "1")
    assert save_model(encoder, tmp_path, version=7) == str(tmp_path / "7")
    assert save_model(encoder, tmp_path) == str(tmp_path / "8")
    with pytest.raises(InputError, match="version=7, but"):
        save_model(encoder, tmp_path, version=7)
    assert sorted(os.listdir(tmp_path)) == ["1", "7", "8"]


def test_a_version_taken_in_the_meantime_is_left_alone(encoder, tmp_path, monkeypatch):
    write = tf.saved_model.save

    def slow(*args, **kwargs):
        (tmp_path / "1" / "variables").mkdir(parents=True)  # another export's
        write(*args, **kwargs)

    monkeypatch.setattr(tf.saved_model, "save", slow)
    assert save_model(encoder, tmp_path) == str(tmp_path / "2")
    (tmp_path / "1" / "variables").rmdir()
    (tmp_path / "1").rmdir()
    with pytest.raises(InputError, match=r"`version` must be new. Received: version=1, but"):
        save_model(encoder, tmp_path, version=1)
    assert sorted(os.listdir(tmp_path)) == ["1", "2"]
    assert os.listdir(tmp_path / "1") == ["variables"]


def test_exports_at_one_time_get_versions_of_their_own(make_encoder, tmp_path):
    with futures.ThreadPoolExecutor(2) as pool:
        paths = list(pool.map(lambda encoder: save_model(encoder, tmp_path), [make_encoder(), make_encoder()]))
    assert sorted(paths) == [str(tmp_path / "1"), str(tmp_path / "2")]
    assert sorted(os.listdir(tmp_path)) == ["1", "2"]
    assert model_digest(paths[0]) == model_digest(paths[1])


def test_only_directories_of_64_bit_numbers_are_versions(encoder, tmp_path):
    (tmp_path / "20240101").write_text("a note")
    (tmp_path / str(2**63)).mkdir()
    (tmp_path / "\u0663").mkdir()  # a digit elsewhere
    assert save_model(encoder, tmp_path) == str(tmp_path / "1")
    assert latest_version(tmp_path) == str(tmp_path / "1")
    (tmp_path / "2").write_text("a file where the next version would be")
    assert save_model(encoder, tmp_path) == str(tmp_path / "3")
    (tmp_path / str(2**63 - 1)).mkdir()
    with pytest.raises(InputError, match=r"no number is left after the highest"):
        save_model(encoder, tmp_path)


def test_a_failed_save_leaves_nothing(encoder, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("disk full")

    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises(RuntimeError, match="disk full"):
        save_model(encoder, tmp_path)
    assert os.listdir(tmp_path) == []


def test_the_card_says_what_the_model_takes_and_gives(encoder, tmp_path):
    more = {"recipe": "simclr_cifar10", "metrics": {"knn_top1": 0.512345678}, "data": {"dataset": "folder:my photos"}}
    path = save_model(encoder, tmp_path, image_size=64, card=more)
    with open(os.path.join(path, "model_card.json"), encoding="utf-8") as file:
        card = json.load(file)
    assert card["embedding_dim"] == 6
    assert card["recipe"] == "simclr_cifar10"
    assert card["preprocessing"]["image_size"] == 64
    assert card["preprocessing"]["crop"].startswith("center")
    assert card["signatures"]["image_bytes"]["inputs"] == {"image_bytes": {"dtype": "string", "shape": [None]}}
    with open(os.path.join(path, "README.md"), encoding="utf-8") as file:
        _, front, text = file.read().split("---\n", 2)
    assert "| knn_top1 | 0.5123 |" in text
    assert "center, 0.875" in text
    assert front.splitlines()[-11:] == [
        "model-index:",
        '- name: "small_encoder"',
        "  results:",
        "  - task:",
        "      type: image-feature-extraction",
        "    dataset:",
        '      name: "folder:my photos"',
        '      type: "folder:my photos"',
        "    metrics:",
        "    - type: knn_top1",
        "      value: 0.5123",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"version": -1}, "version"),
        ({"version": "1"}, "version"),
        ({"version": 2**63}, "version"),
        ({"image_size": 0}, "image_size"),
        ({"image_size": 2.5}, "image_size"),
    ],
)
def test_bad_arguments(encoder, tmp_path, arguments, message):
    with pytest.raises(InputError, match=f"`{message}` must be.*Received"):
        save_model(encoder, tmp_path, **arguments)


def test_bad_models(make_encoder, tmp_path):
    with pytest.raises(InputError, match=r"must be a keras.Model"):
        save_model("resnet50", tmp_path)
    with pytest.raises(InputError, match="must be built"):
        save_model(keras.Sequential([keras.layers.Flatten()]), tmp_path)
    images = keras.Input((16, 16, 3))
    with pytest.raises(InputError, match=r"to vectors \[B, F\]"):
        save_model(keras.Model(images, keras.layers.Conv2D(2, 3)(images)), tmp_path)
    with pytest.raises(InputError, match=r"what the encoder takes, 16 x 16. Received: image_size=32"):
        save_model(make_encoder((16, 16, 3)), tmp_path, image_size=32)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="`base` must be a directory"):
        save_model(make_encoder(), tmp_path / "file")
