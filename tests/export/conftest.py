"""Small models that are exported."""

import keras
import numpy as np
import pytest

from tfcontrastive.export import CppSession, save_model


def small_encoder(shape=(None, None, 3), dtype=None, l2=1e-3):
    """A conv net with batch norm and two of SimCLR's layer names; its moving statistics are not the initial ones."""
    keras.utils.set_random_seed(1)
    images = keras.Input(shape)
    x = keras.layers.Conv2D(
        4, 3, padding="same", name="initial_conv", dtype=dtype, kernel_regularizer=keras.regularizers.L2(l2)
    )(images)
    x = keras.layers.BatchNormalization(dtype=dtype)(x)
    x = keras.layers.ReLU(dtype=dtype)(x)
    x = keras.layers.Conv2D(6, 3, strides=2, padding="same", name="block_group1", dtype=dtype)(x)
    x = keras.layers.GlobalAveragePooling2D(name="final_avg_pool", dtype=dtype)(x)
    encoder = keras.Model(images, x, name="small_encoder")
    pixels = np.random.RandomState(0).rand(8, 16, 16, shape[-1]).astype("float32")
    for _ in range(3):
        encoder(pixels, training=True)
    return encoder


@pytest.fixture(scope="session")
def make_encoder():
    return small_encoder


@pytest.fixture(scope="session")
def encoder():
    return small_encoder()


@pytest.fixture(scope="session")
def exported(encoder, tmp_path_factory):
    return save_model(encoder, tmp_path_factory.mktemp("exported"), image_size=16)


@pytest.fixture(scope="session")
def cpp(exported):
    """The export in the C++ loader, for whatever leaves its weights alone; a worker takes seconds to start."""
    with CppSession(exported) as session:
        yield session


@pytest.fixture
def images():
    return np.random.RandomState(7).rand(3, 16, 16, 3).astype("float32")
