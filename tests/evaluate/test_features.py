import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive.evaluate import extract_features

IMAGES = np.random.default_rng(0).random((11, 4, 4, 1), np.float32)


def batches(size):
    return [{"image": IMAGES[at : at + size], "label": np.arange(11)[at : at + size]} for at in range(0, 11, size)]


def encoder(images, training=False):
    return tf.reshape(images, [-1, 16])


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("dataset", [batches(4), iter(batches(3)), tf.data.Dataset.from_tensors(batches(11)[0])])
def test_features_come_in_order_however_the_work_is_shared(replicas, dataset, two_replicas):
    dataset = batches(3) if replicas == 2 and not isinstance(dataset, list | tf.data.Dataset) else dataset
    with (two_replicas if replicas == 2 else tf.distribute.get_strategy()).scope():
        features, labels = extract_features(encoder, dataset)
    np.testing.assert_array_equal(features, IMAGES.reshape(11, 16))
    np.testing.assert_array_equal(labels, np.arange(11))


def test_replicas_share_the_images(two_replicas):
    seen = []

    def counting(images, training=False):
        tf.numpy_function(lambda count: seen.append(int(count)) or np.int64(0), [tf.shape(images)[0]], tf.int64)
        return encoder(images)

    with two_replicas.scope():
        extract_features(counting, batches(4))
    assert seen == [2] * 6  # 4, 4 and 3 (padded to 4) images, half of them each
