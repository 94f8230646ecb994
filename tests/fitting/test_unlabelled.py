"""What is said without labels, and which labels are doubted."""

import numpy as np
import tensorflow as tf

from tests.fitting.folders import drawn
from tfcontrastive import augment
from tfcontrastive.fitting import unlabelled
from tfcontrastive.fitting.suspects import suspects, write_suspects


def blobs(per_group: int = 30, groups: int = 4, width: int = 16) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(groups), per_group)
    return (np.eye(width)[labels] + 0.1 * rng.normal(size=[len(labels), width])).astype(np.float32), labels


def test_groups_that_lie_apart_are_found():
    features, labels = blobs()
    found = unlabelled.clusters(features)
    assert found.count == 4
    assert all(len(np.unique(found.assigned[labels == label])) == 1 for label in range(4))
    assert found.silhouette > 0.5


def test_too_few_or_identical_images_have_no_groups():
    assert unlabelled.clusters(np.eye(4)) is None
    assert unlabelled.clusters(np.ones([50, 4])) is None


def test_what_lies_alone_is_the_outlier():
    features, _ = blobs()
    features[7] = np.eye(16)[15]
    assert unlabelled.outliers(features).argmax() == 7


def test_an_image_is_found_by_its_view_where_features_tell_it():
    images = (drawn(40, 24)[0] / 255).astype(np.float32)
    flat = lambda batch, training: tf.reshape(batch, [len(batch), -1])  # noqa: E731
    nothing = lambda batch, training: tf.ones([len(batch), 4])  # noqa: E731
    same, strong = augment.policy("none"), augment.policy("simclr")
    assert unlabelled.retrieval(flat, images, same) == 1.0
    assert unlabelled.retrieval(flat, images, strong) == unlabelled.retrieval(flat, images, strong) < 1.0
    assert unlabelled.retrieval(nothing, images, same) == 1 / 40


def test_a_wrong_label_among_many_right_ones_is_doubted():
    features, labels = blobs()
    labels[5] = 2
    labels[6] = -1
    found = suspects(features, labels, np.arange(len(labels)), 4)
    assert [(one.row, one.label, one.suggested) for one in found] == [(5, 2, 0)]
    assert found[0].confidence > 0.6


def test_a_copy_does_not_vouch_for_its_label():
    features, labels = blobs()
    features[5], labels[5], labels[4] = features[4], 2, 2
    group = np.arange(len(labels))
    group[5] = 4
    assert {one.row for one in suspects(features, labels, group, 4)} == {4, 5}


def test_suspects_are_a_table_of_names(tmp_path):
    features, labels = blobs()
    labels[5] = 2
    path = tmp_path / "labels.csv"
    ids = [f"{row}.png" for row in range(len(labels))]
    write_suspects(str(path), suspects(features, labels, np.arange(len(labels)), 4), ids, ["a", "b", "c,d", "e"])
    head, line = path.read_text().splitlines()
    assert head == "file,label,suggested,confidence"
    assert line.startswith('5.png,"c,d",a,')
