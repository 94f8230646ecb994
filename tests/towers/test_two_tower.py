"""`TwoTower`: its step against slow loops, replicas, resuming, saving, and what it refuses."""

import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcontrastive
from tests.towers import cases
from tests.towers.cases import CONFIGS, batch, make, numbers_tower, train, weights, words_tower
from tfcontrastive import optimizers
from tfcontrastive.config import InputError
from tfcontrastive.encoders import BatchNorm
from tfcontrastive.models.checkpoint import checkpoint_of, restore
from tfcontrastive.towers import TwoTower, TwoTowerConfig
from tfcontrastive.towers.seeded_call import random_states, seeded_call


@pytest.fixture
def double():
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("loss", CONFIGS)
def test_a_steps_loss_and_its_move_of_the_temperature_are_the_papers(loss, double):
    rate = 2.0**-10  # small, lest the temperature meets its bounds
    model = make(loss, train_temperature=True, optimizer=keras.optimizers.SGD(rate))
    data, scalars = batch(loss), {"log_scale": float(model.log_scale)}
    if loss == "siglip":
        scalars["bias"] = float(model.logit_bias)
    sides, weight = cases.compared(model, data), CONFIGS[loss].get("hard_negative_weight", 0.0)

    def slow(**changed):
        return cases.slow_loss(loss, *sides, weight=weight, **{**scalars, **changed})

    (found,) = train(model, loss, range(1))
    assert found == pytest.approx(slow(), rel=1e-12)
    moved = {"log_scale": model.log_scale, "bias": model.logit_bias}
    for name, value in scalars.items():
        slope = (slow(**{name: value + 1e-5}) - slow(**{name: value - 1e-5})) / 2e-5
        assert float(moved[name]) - value == pytest.approx(-rate * slope, rel=1e-6)


@pytest.mark.parametrize("loss", ["siglip", "dpr"])  # what is learned beside the towers, and hard negatives
def test_two_replicas_learn_what_one_does(loss, two_replicas, double):
    alone = make(loss)
    losses = train(alone, loss, range(3))
    with two_replicas.scope():
        together = make(loss, eager=False)
    found = []

    class Keep(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            found.append(float(np.mean(logs["loss"])))
            self.model.reset_metrics()

    together.fit(cases.batches(loss, 3), verbose=0, callbacks=[Keep()])
    np.testing.assert_allclose(found, losses, rtol=1e-9)
    for one, two in zip(weights(alone), weights(together), strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-9, atol=1e-9)


def test_micro_batches_learn_what_the_batch_does_in_one_piece(double):
    whole, parts = make("dpr"), make("dpr", micro=3)
    np.testing.assert_allclose(train(parts, "dpr", range(2)), train(whole, "dpr", range(2)), rtol=1e-9)
    for one, two in zip(weights(whole), weights(parts), strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-9, atol=1e-9)
    with pytest.raises(InputError, match=r"must divide the 6 rows of each tower on a replica\. Received: 4"):
        train(make("dpr", micro=4), "dpr", range(1))


def test_micro_batches_drop_out_by_the_seeds_and_differently():
    model = TwoTower(numbers_tower(0.5), config=TwoTowerConfig("sim_cse", head="none"), micro_batch_size=2)
    model.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    before = [np.array(state) for state in random_states(model.query_encoder)]
    pairs = model._pairs({"query": tf.ones([4, 5])})
    first, second, _ = model._encoded(pairs)
    np.testing.assert_array_equal(model._encoded(pairs)[0], first)
    assert min(np.abs(first[:2] - first[2:]).max(), np.abs(first - second).max()) > 1e-3
    for state, old in zip(random_states(model.query_encoder), before, strict=True):
        np.testing.assert_array_equal(state, old)


def test_resuming_from_a_checkpoint_changes_nothing(tmp_path):
    through, middle = make("clip", rate=0.3), 2
    train(through, "clip", range(middle))
    path = checkpoint_of(through).save(str(tmp_path / "middle"))
    losses = train(through, "clip", range(middle, 4))
    resumed = make("clip", rate=0.3, seed=2)
    restore(path, resumed)
    assert train(resumed, "clip", range(middle, 4)) == losses
    for one, two in zip(weights(through), weights(resumed), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_learned_temperature_and_the_bias_are_in_the_checkpoint_by_name(tmp_path):
    path = checkpoint_of(make("siglip")).save(str(tmp_path / "start"))
    names = [name for name, _ in tf.train.list_variables(path)]
    assert {f"model/{name}/.ATTRIBUTES/VARIABLE_VALUE" for name in ("log_scale", "logit_bias")} <= set(names)


def test_random_layers_draw_from_the_seeds_and_statistics_move():
    x = inputs = keras.Input((64,))
    network = keras.Model(inputs, layers.Dropout(0.5)(BatchNorm()(layers.Dropout(0.5)(x))))
    states = random_states(network)
    before, norm = [np.array(state) for state in states], network.layers[2]
    data = tf.random.stateless_normal([8, 64], [0, 1])
    drawn = {key: seeded_call(network, data, tf.constant([[1, key], [2, key]]))[0].numpy() for key in (0, 1)}
    again, added = seeded_call(network, data, tf.constant([[1, 0], [2, 0]]))
    np.testing.assert_array_equal(again, drawn[0])
    assert not added
    assert np.mean((drawn[0] == 0) != (drawn[1] == 0)) > 0.2
    for state, old in zip(states, before, strict=True):
        np.testing.assert_array_equal(state, old)
    assert np.abs(norm.moving_mean).max() > 0


def test_what_layers_add_to_the_loss_counts():
    class Costly(layers.Layer):
        def call(self, x):
            self.add_loss(tf.constant(0.25))
            return x

    inputs = keras.Input((5,))
    regularizer = keras.regularizers.L2(0.5)
    costly = keras.Model(inputs, layers.Dense(4, kernel_regularizer=regularizer)(layers.Dropout(0.1)(Costly()(inputs))))
    _, added = seeded_call(costly, tf.zeros([2, 5]), tf.constant([[0, 0]]))
    assert [float(term) for term in added] == [0.25]

    model = TwoTower(costly, words_tower(), TwoTowerConfig("dpr"))
    model.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    data, kernel = batch("dpr"), model.query_encoder.layers[-1].kernel
    for words in (data["key"], data["hard_negative"]):
        words["weight"] = tf.zeros_like(words["weight"])
    data["query"] = tf.zeros_like(data["query"])  # the loss itself moves nothing of a kernel of zeros
    before = np.array(kernel)
    model.train_on_batch(data)
    np.testing.assert_allclose(kernel, before * (1 - 0.1 * 2 * 0.5), rtol=1e-5)


def test_the_two_passes_of_a_text_differ_by_dropout_alone():
    model = TwoTower(numbers_tower(0.5), config=TwoTowerConfig("sim_cse"), seed=5)
    model.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    data = {"query": batch("clip")["query"]}
    first, second, _ = model._encoded(model._pairs(data))
    assert np.abs(first - second).max() > 1e-3
    np.testing.assert_array_equal(model._encoded(model._pairs(data))[0], first)
    model.optimizer.iterations.assign_add(1)
    assert np.abs(model._encoded(model._pairs(data))[0] - first).max() > 1e-3
    np.testing.assert_array_equal(model.query(data["query"]), model.key(data["query"]))


def test_replicas_drop_out_differently(two_replicas):
    with two_replicas.scope():
        model = TwoTower(numbers_tower(0.5), config=TwoTowerConfig("sim_cse"))
        model.compile(keras.optimizers.SGD(0.1))
    row = tf.ones([2, 5])
    own = two_replicas.run(tf.function(lambda: model._encoded(model._pairs({"query": row}))[0]))
    one, two = two_replicas.experimental_local_results(own)
    assert np.abs(one - two).max() > 1e-3


def test_a_learned_temperature_stays_in_its_bounds():
    model = make("clip", temperature=0.011, optimizer=keras.optimizers.SGD(1e4))
    train(model, "clip", range(2))
    assert any(float(model.temperature) == pytest.approx(bound, rel=1e-6) for bound in (0.01, 1.0))


def test_a_fixed_temperature_does_not_move():
    model = make("clip", train_temperature=False, temperature=0.2)
    train(model, "clip", range(2))
    assert float(model.temperature) == pytest.approx(0.2, rel=1e-6)
    assert "temperature" not in model.metric_names


def test_weight_decay_leaves_the_scale_and_the_bias_alone():
    model = make("siglip", optimizer=optimizers.build("adamw", 0.0, weight_decay=0.5))
    undecayed = {v.name for v in model.trainable_variables if not model.optimizer._use_weight_decay(v)}
    assert {"log_scale", "logit_bias"} <= undecayed


@pytest.mark.parametrize("loss", CONFIGS)
def test_evaluate_gives_the_loss_without_dropout_and_moves_nothing(loss):
    model = make(loss, rate=0.5)
    before = weights(model)
    found = model.evaluate(batch(loss), batch_size=cases.ROWS, verbose=0, return_dict=True)
    scalars = {"log_scale": float(model.log_scale), "weight": CONFIGS[loss].get("hard_negative_weight", 0.0)}
    scalars |= {"bias": float(model.logit_bias)} if loss == "siglip" else {}
    assert found["loss"] == pytest.approx(
        cases.slow_loss(loss, *cases.compared(model, batch(loss)), **scalars), rel=1e-5
    )
    assert set(found) == {"loss", *model.metric_names}
    for one, two in zip(before, weights(model), strict=True):
        np.testing.assert_array_equal(one, two)


def test_fit_takes_lists_and_arrays_and_embeddings_have_unit_length():
    model = make("clip")
    data = batch("clip", rows=8)
    plain = {"query": np.asarray(data["query"]).tolist(), "key": {k: np.asarray(v) for k, v in data["key"].items()}}
    history = model.fit(plain, batch_size=4, verbose=0, validation_data=plain).history
    assert np.isfinite(history["val_loss"]).all()
    queries, keys = model.query_embeddings(plain["query"], batch_size=3), model.key_embeddings(plain["key"])
    np.testing.assert_allclose(np.linalg.norm(queries, axis=1), 1, rtol=1e-5)
    logits = model.logits(tf.constant(queries), tf.constant(keys))
    np.testing.assert_allclose(logits, queries @ keys.T / np.float32(model.temperature), rtol=1e-4, atol=1e-5)


def test_embeddings_without_the_head_are_the_features():
    model = make("sim_cse", embed_head=False)
    data = batch("clip")["query"]
    features = np.asarray(model.query_encoder(data))
    np.testing.assert_allclose(model.query(data), features / np.linalg.norm(features, axis=1, keepdims=True), rtol=1e-5)


def test_dpr_of_directions_is_divided_by_its_temperature(double):
    model = make("dpr", normalize=True, temperature=0.2)
    data = batch("dpr")
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in cases.compared(model, data)]
    assert train(model, "dpr", range(1))[0] == pytest.approx(
        cases.slow_loss("dpr", *unit, log_scale=np.log(5.0)), rel=1e-12
    )


@pytest.mark.parametrize("shared", [False, True])
def test_keras_saves_and_loads_it(shared, tmp_path):
    model = make("siglip", head="mlp", hidden_dim=5)
    if shared:
        model = TwoTower(numbers_tower(), config=TwoTowerConfig("sim_cse", proj_out_dim=3), seed=7)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert (loaded.config, loaded.seed, loaded.shared) == (model.config, model.seed, shared)
    data = batch("clip")
    np.testing.assert_array_equal(loaded.query(data["query"]), model.query(data["query"]))
    keys = data["query" if shared else "key"]
    np.testing.assert_array_equal(loaded.key(keys), model.key(keys))
    np.testing.assert_array_equal(loaded.log_scale, model.log_scale)


def test_the_pages_program_runs(tmp_path, monkeypatch, capsys):
    page = (pathlib.Path(__file__).parents[2] / "docs" / "two_towers.md").read_text(encoding="utf-8")
    program = re.findall(r"```python\n(.*?)```", page, re.S)[0]
    monkeypatch.chdir(tmp_path)
    quicker = program.replace("compile(optimizer=", "compile(run_eagerly=True, optimizer=").replace(
        "epochs=5", "epochs=1"
    )
    exec(compile(quicker, "two_towers.md", "exec"), {})
    recall, table = capsys.readouterr().out.strip().split("\n", 1)
    assert 0 <= float(recall) <= 1
    assert "shape=(1, 4)" in table


def test_it_is_a_public_name():
    assert tfcontrastive.TwoTower is TwoTower
    assert tfcontrastive.TwoTowerConfig is TwoTowerConfig


DATA = batch("clip")
REFUSED = {
    "no-query": (lambda m: m.train_on_batch({"key": DATA["key"]}), r"batches \{\"query\".*Received: \['key'\]"),
    "another-key": (
        lambda m: m.train_on_batch({**DATA, "label": DATA["query"]}),
        r"Received: \['key', 'label', 'query'\]",
    ),
    "no-dictionary": (lambda m: m.train_on_batch(DATA["query"]), "Received: EagerTensor"),
    "no-key": (lambda m: m.train_on_batch({"query": DATA["query"]}), '`x` must hold "key" beside "query"'),
    "rows": (lambda m: m.train_on_batch({**DATA, "query": DATA["query"][:3]}), "as many rows. Received: 3 and 6"),
    "negatives": (lambda m: m.train_on_batch({**DATA, "hard_negative": DATA["key"]}), "for the losses sim_cse and dpr"),
    "one-pair": (
        lambda m: m.train_on_batch(tf.nest.map_structure(lambda x: x[:1], DATA)),
        "a batch must hold 2 or more. Received: 1",
    ),
    "short-batch": (
        lambda m: m.fit(DATA, batch_size=5, verbose=0),
        "Received: a batch of 1. Take another `batch_size`",
    ),
    "y": (lambda m: m.fit(DATA, DATA["query"], verbose=0), "`y` must be None"),
    "config": (lambda m: TwoTower(numbers_tower(), config={"loss": "clip"}), "`config` must be a TwoTowerConfig"),
    "seed": (lambda m: TwoTower(numbers_tower(), seed=-1), "`seed` must be a whole number"),
    "no-model": (lambda m: TwoTower(tf.identity), "`query_encoder` must be a built keras.Model"),
    "unbuilt": (lambda m: TwoTower(keras.Sequential([layers.Dense(2)])), "has no weights yet. Call it once"),
    "map": (
        lambda m: TwoTower(numbers_tower(), keras.Sequential([keras.Input([4, 4]), layers.Dense(2)])),
        "`key_encoder` must be a built .* Give it one output, pooled",
    ),
    "widths": (
        lambda m: TwoTower(
            numbers_tower(), keras.Sequential([keras.Input([4]), layers.Dense(2)]), TwoTowerConfig("dpr")
        ),
        "vectors of the query's width where there are no heads to do so. Received: 2 and 4",
    ),
    "loss": (lambda m: TwoTowerConfig("dprr"), "Did you mean 'dpr'"),
    "bias": (lambda m: TwoTowerConfig("clip", logit_bias=0.0), "`logit_bias` must be left out but for siglip"),
    "alpha": (lambda m: TwoTowerConfig("dpr", hard_negative_weight=1.0), "must be left out but for sim_cse"),
    "vectors": (lambda m: TwoTowerConfig("clip", normalize=False), "`normalize` must be true but for dpr"),
    "bounds": (lambda m: TwoTowerConfig("clip", temperature=2.0), r"must lie in \[0.01, 1\], from `min_temperature`"),
    "no-head": (lambda m: TwoTowerConfig("dpr", proj_out_dim=3), "`proj_out_dim` must be left out without a head"),
    "hidden": (lambda m: TwoTowerConfig("clip", hidden_dim=3), "`hidden_dim` must be left out but for an mlp"),
}


@pytest.fixture(scope="module")
def refusing():
    return make("clip")


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_in_one_line(case, refusing):
    call, message = REFUSED[case]
    with pytest.raises(InputError, match=message) as caught:
        call(refusing)
    assert "\n" not in str(caught.value)


def test_hard_negatives_of_other_axes_are_refused():
    data = {**batch("dpr"), "hard_negative": tf.nest.map_structure(lambda x: x[0, 0], batch("dpr")["hard_negative"])}
    with pytest.raises(InputError, match='"hard_negative" must have the axes of "key"'):
        make("dpr").train_on_batch(data)


def test_a_text_is_not_its_own_key_without_dropout():
    model = TwoTower(numbers_tower(), config=TwoTowerConfig("sim_cse"))
    model.compile("sgd", run_eagerly=True)
    with pytest.raises(InputError, match="only in sim_cse, with one tower that has dropout"):
        model.train_on_batch({"query": DATA["query"]})
