import numpy as np
import pytest

from tfcontrastive.config import InputError
from tfcontrastive.evaluate import KNN, LabelledFeatures, accuracies, knn, knn_scores, nearest_neighbours


def slow_similarities(queries, memory):
    unit = [row / np.linalg.norm(row) for row in memory]
    return np.array([[query @ row / np.linalg.norm(query) for row in unit] for query in queries])


def slow_scores(train, train_labels, features, num_classes, k, temperature):
    scores = np.zeros([len(features), num_classes])
    for query, similarities in enumerate(slow_similarities(features, train)):
        for row in np.argsort(-similarities, kind="stable")[:k]:
            scores[query, train_labels[row]] += np.exp(similarities[row] / temperature)
    return scores


@pytest.fixture
def toy():
    rng = np.random.default_rng(0)
    train, features = rng.normal(size=(90, 5)), rng.normal(size=(31, 5))
    return train, rng.permutation(np.arange(90) % 4), features, np.arange(31) % 4


@pytest.mark.parametrize("k", [1, 7, 90])
def test_neighbours_are_those_of_a_slow_loop(toy, k):
    train, _, features, _ = toy
    similarity, row = nearest_neighbours(features, train, k)
    expected = slow_similarities(features, train)
    order = np.argsort(-expected, axis=1)[:, :k]
    np.testing.assert_array_equal(row, order)
    np.testing.assert_allclose(similarity, np.take_along_axis(expected, order, 1), atol=1e-6)


@pytest.mark.parametrize(("query_block", "memory_block"), [(1, 1), (7, 13), (31, 90), (1000, 4)])
def test_blocks_change_nothing(toy, query_block, memory_block):
    train, _, features, _ = toy
    whole = nearest_neighbours(features, train, 20)
    blocks = nearest_neighbours(features, train, 20, query_block=query_block, memory_block=memory_block)
    np.testing.assert_allclose(blocks[0], whole[0], atol=1e-6)
    np.testing.assert_array_equal(blocks[1], whole[1])


@pytest.mark.parametrize("memory_block", [1, 2, 3, 100])
def test_of_equal_neighbours_the_earlier_row_comes_first(memory_block):
    memory = np.array([[0, 1], [1, 0], [2, 0], [0, 3], [4, 0]], np.float32)
    _, row = nearest_neighbours([[1, 0]], memory, 5, memory_block=memory_block)
    assert row.tolist() == [[1, 2, 4, 0, 3]]


def test_a_row_of_zeros_is_similar_to_nothing():
    similarity, row = nearest_neighbours([[1.0, 0.0]], [[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0]], 3)
    assert row.tolist() == [[1, 0, 2]]
    assert similarity.tolist() == [[1, 0, -1]]


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.1), (20, 0.1), (20, 1.0), (90, 0.07)])
def test_scores_are_those_of_a_slow_loop_up_to_a_factor(toy, k, temperature):
    train, train_labels, features, _ = toy
    scores = knn_scores(train, train_labels, features, num_classes=4, k=k, temperature=temperature)
    scores = np.where(np.isinf(scores), 0, scores)
    expected = slow_scores(train, train_labels, features, 4, k, temperature)
    np.testing.assert_allclose(
        scores / scores.sum(1, keepdims=True), expected / expected.sum(1, keepdims=True), rtol=1e-4
    )


def test_a_tiny_temperature_does_not_overflow(toy):
    train, train_labels, features, _ = toy
    nearest = slow_similarities(features, train).argmax(1)
    result = knn(train, train_labels, features, train_labels[nearest], num_classes=4, k=50, temperature=1e-4)
    assert result["knn_top1"] == 1


def test_k_is_clipped_to_the_memory(toy):
    train, train_labels, features, labels = toy
    few = knn(train, train_labels, features, labels, num_classes=4, k=90)
    assert knn(train, train_labels, features, labels, num_classes=4, k=100_000) == few


def test_no_class_is_outvoted_by_number_alone(caplog):
    """A class of few images: with all of the larger one voting it could never win."""
    train = np.concatenate([np.tile([[1.0, 0.1]], [40, 1]), np.tile([[1.0, 0.0]], [5, 1])])
    labels = np.repeat([0, 1], [40, 5])
    features = LabelledFeatures(train, labels, np.array([[1.0, 0.0]]), np.array([1]), num_classes=2)
    with caplog.at_level("INFO", logger="absl"):
        values = KNN(k=200).measure(features)
    assert (values["knn_top1"], values["knn_k"]) == (1.0, 5)
    assert "k=5 in place of 200, as the smallest class has no more training images" in caplog.text
    assert knn(*features.arrays(), num_classes=2, k=200)["knn_top1"] == 0.0


def test_k_stays_where_the_classes_are_large_enough(toy, caplog):
    values = KNN(k=7).measure(LabelledFeatures(*toy, num_classes=4))
    assert values == {**knn(*toy, num_classes=4, k=7), "knn_k": 7.0}
    assert not caplog.text


def test_a_class_without_a_vote_is_not_among_the_top_5():
    # k=1: only the nearest, of class 1, votes, so an example of class 0 is wrong however many classes are asked for.
    result = knn([[1.0, 0.0], [0.0, 1.0]], [0, 1], [[0.0, 1.0]], [0], num_classes=6, k=1)
    assert result["knn_top5"] == 0


def test_a_class_absent_from_the_test_split_is_fine(toy):
    train, train_labels, features, _ = toy
    result = knn(train, train_labels, features, np.zeros(31, int), num_classes=4)
    assert 0 <= result["knn_mean_per_class"] <= 1


def test_a_class_absent_from_a_sampled_memory_counts_as_wrong():
    scores = knn_scores([[1.0, 0.0]], [0], [[1.0, 0.0], [1.0, 0.0]], num_classes=2)
    assert accuracies("knn", scores, np.array([0, 1]))["knn_top1"] == 0.5


def replaced(toy, **changes):
    names = ("train_features", "train_labels", "features", "labels")
    return dict(zip(names, toy, strict=True)) | {"num_classes": 4} | changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 0}, "`k` must be >= 1. Received: k=0."),
        ({"temperature": 0.0}, "`temperature` must be > 0. Received: temperature=0.0."),
        ({"train_features": np.full([90, 5], np.nan)}, "NaN or infinity in row 0"),
        ({"features": np.full([31, 5], np.inf)}, "NaN or infinity in row 0"),
        ({"features": np.zeros([31, 4])}, "must have 5 columns"),
        ({"features": np.zeros([0, 5])}, "non-empty"),
        ({"labels": np.full(31, 4)}, r"must lie in \[0, 4\). Received: 4 in row 0."),
        ({"labels": np.full(31, -1)}, "-1 means unlabelled"),
        ({"labels": np.zeros(30, int)}, "one label for each of the 31 rows"),
        ({"labels": np.zeros(31)}, "must be integers"),
        ({"train_labels": np.zeros(90, int)}, "must hold classes of `train_labels` only; .* Received: 1, 2, 3."),
    ],
)
def test_bad_input_is_one_clear_line(toy, changes, message):
    with pytest.raises(InputError, match=message) as error:
        knn(**replaced(toy, **changes))
    assert "\n" not in str(error.value)
