"""The transform on Beam's DirectRunner with several workers: the vectors of `embed`, and nothing lost."""

import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive.config import InputError
from tfcontrastive.export import EmbeddingFiles, embed_images, folder_items, save_model
from tfcontrastive.export import beam as ours

pytestmark = pytest.mark.beam

COUNT = 37
WORKERS = ["--runner=DirectRunner", "--direct_num_workers=2", "--direct_running_mode=multi_processing"]


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory):
    keras.utils.set_random_seed(1)
    images = keras.Input((16, 16, 3))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(images))
    encoder = keras.Model(images, keras.layers.GlobalAveragePooling2D()(x))
    return save_model(encoder, str(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for number in range(COUNT):
        place = folder / f"class {number % 3}"
        place.mkdir(exist_ok=True)
        png = tf.io.encode_png(rng.integers(0, 256, (20, 24, 3), np.uint8)).numpy()
        (place / f"é {number}.png").write_bytes(png if number != 5 else png[:40])
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture(scope="module")
def expected(saved_model, photos, tmp_path_factory):
    output = tmp_path_factory.mktemp("expected") / "vectors"
    embed_images(saved_model, folder_items(photos), output, format="parquet")
    return output


def rows(path):
    files = EmbeddingFiles(path)
    return dict(zip(files.ids, files.load(), strict=True))


def run(source, saved_model, output, workers=("--runner=DirectRunner",), **options):
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    with beam.Pipeline(options=PipelineOptions(list(workers), save_main_session=False)) as pipeline:
        images = pipeline | ours.ReadImages(source)
        images | ours.EmbedImages(saved_model, str(output), **options)


def same(received, expected):
    assert received.keys() == expected.keys()
    for name, vector in expected.items():
        np.testing.assert_allclose(received[name], vector, atol=1e-6, err_msg=name)


def test_several_workers_write_the_vectors_of_embed(saved_model, photos, expected, tmp_path):
    output = tmp_path / "vectors"
    run(f"folder:{photos}", saved_model, output, WORKERS, shards=3, batch_size=8)
    same(rows(output), rows(expected))
    assert sorted(path.name for path in output.iterdir()) == sorted(
        ["_bad_files.txt", "_manifest.json", "_saved_model.txt", *(f"vectors-{i:05d}.parquet" for i in range(3))]
    )
    assert (output / "_bad_files.txt").read_bytes() == (expected / "_bad_files.txt").read_bytes()
    ours_, theirs = (json.loads((path / "_manifest.json").read_text()) for path in (output, expected))
    for key in ("dim", "format", "dtype", "normalize", "model"):
        assert ours_["made"][key] == theirs["made"][key]
    assert ours_["position"] == theirs["position"] == COUNT


def test_records_and_tables_give_the_same(saved_model, photos, expected, tmp_path):
    import pyarrow
    import pyarrow.parquet

    names = sorted(str(path.relative_to(photos)) for path in photos.rglob("*.png"))
    contents = [(photos / name).read_bytes() for name in names]
    pyarrow.parquet.write_table(
        pyarrow.table({"id": names, "image": contents, "label": list(range(COUNT))}), tmp_path / "images.parquet"
    )
    run(f"parquet:{tmp_path}/*.parquet", saved_model, tmp_path / "tables", labels="number")
    same(rows(tmp_path / "tables"), rows(expected))
    files = EmbeddingFiles(tmp_path / "tables")
    assert all(names[label] == name for name, label in zip(files.ids, files.labels, strict=True))
    with tf.io.TFRecordWriter(str(tmp_path / "images.tfrecord")) as writer:
        for content in contents:
            feature = {"image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[content]))}
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    run(f"tfrecord:{tmp_path}/*.tfrecord", saved_model, tmp_path / "records")
    found = {names[int(pathlib.PurePath(name).name)]: vector for name, vector in rows(tmp_path / "records").items()}
    same(found, rows(expected))


def test_what_is_there_is_not_overwritten(saved_model, expected):
    with pytest.raises(InputError, match="`output` must be a new or empty directory"):
        ours.EmbedImages(saved_model, str(expected))
    with pytest.raises(InputError, match="`source` must be one of folder"):
        ours.ReadImages("zip:photos")
