from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image
from tensorboard.plugins.projector import ProjectorConfig

from tfcontrastive.config import InputError
from tfcontrastive.evaluate import displayable, sprite_sheet, write_projector


@pytest.fixture
def points():
    rng = np.random.default_rng(0)
    return {
        "embeddings": {"h": rng.normal(size=(5, 3)).astype(np.float32), 'an "odd"\\name é😀': np.eye(5)},
        "labels": np.array([0, 1, 1, 0, 1]),
        "class_names": ["a shirt", "tab\there\n"],
        "images": rng.integers(0, 256, (5, 6, 6, 1)).astype(np.uint8),
    }


def test_tensorboard_reads_every_file_and_they_agree(tmp_path, points):
    path = write_projector(tmp_path / "new" / "logs", **points)
    folder = tmp_path / "new" / "logs"
    config = text_format.Parse(Path(path).read_text(encoding="utf-8"), ProjectorConfig())
    assert [embedding.tensor_name for embedding in config.embeddings] == list(points["embeddings"])
    for embedding, expected in zip(config.embeddings, points["embeddings"].values(), strict=True):
        np.testing.assert_allclose(np.loadtxt(folder / embedding.tensor_path, ndmin=2), expected, rtol=1e-5)
        metadata = (folder / embedding.metadata_path).read_text().splitlines()
        assert metadata == ["class\tindex", "a shirt\t0", "tab here\t1", "tab here\t2", "a shirt\t3", "tab here\t4"]
        assert list(embedding.sprite.single_image_dim) == [6, 6]
        sprite = Image.open(folder / embedding.sprite.image_path)
        assert sprite.size == (18, 18)
        tile = np.asarray(sprite)[6:12, 0:6]  # the fourth of three across: second row, first column
        np.testing.assert_array_equal(tile, np.repeat(points["images"][3], 3, axis=-1))


def test_features_alone_will_do(tmp_path):
    write_projector(tmp_path, {"h": np.eye(3)})
    assert sorted(file.name for file in tmp_path.iterdir()) == ["embedding_0.tsv", "projector_config.pbtxt"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embeddings": {}}, "`embeddings` must hold at least one"),
        ({"embeddings": {"h": np.eye(4)}}, "`labels` must have one row for each of the 4 points. Received: 5."),
        ({"embeddings": {"h": np.full([5, 2], np.nan)}}, r"`embeddings\['h'\]` must be finite"),
        ({"images": np.zeros([4, 2, 2, 1])}, "`images` must have one row"),
        ({"class_names": ["one"]}, r"`labels` must lie in \[0, 1\)"),
    ],
)
def test_bad_input_leaves_no_config(tmp_path, points, changes, message):
    with pytest.raises(InputError, match=message):
        write_projector(tmp_path, **points | changes)
    assert not (tmp_path / "projector_config.pbtxt").exists()


@pytest.mark.parametrize(("channels", "shown"), [(1, [0, 0, 0]), (2, [0, 0, 0]), (3, [0, 1, 2]), (5, [0, 1, 2])])
def test_images_of_any_channels_are_shown_as_rgb(channels, shown):
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 3, channels)).astype(np.uint8)
    np.testing.assert_array_equal(displayable(images), images[..., shown])
    np.testing.assert_array_equal(displayable((images / 255).astype(np.float32)), images[..., shown])


def test_transparent_images_are_shown_on_white():
    images = np.array([[[[0, 200, 0, 0], [10, 20, 30, 255], [0, 0, 0, 51]]]], np.uint8)
    assert displayable(images)[0, 0].tolist() == [[255, 255, 255], [10, 20, 30], [204, 204, 204]]


def test_float_images_are_clipped():
    assert displayable(np.array([-1, 0.5, 2, np.nan]).reshape(1, 2, 2, 1))[0, ..., 0].tolist() == [[0, 128], [255, 0]]


def test_a_sheet_is_square():
    assert sprite_sheet(np.ones([10, 3, 5, 1]), 4).size == (16, 16)
    with pytest.raises(InputError, match=r"\[N, H, W, C\]"):
        sprite_sheet(np.ones([3, 5, 1]), 4)
