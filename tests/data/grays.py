"""Small data sets of every kind. Image i of N is one plain gray, so a crop of it still tells which image it was."""

import numpy as np
import tensorflow as tf
from PIL import Image

from tfcontrastive import data
from tfcontrastive.data.tfds import TfdsSource

COUNT, STEP = 10, 20  # images, and how far apart their grays are


def gray(index: int, height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), STEP * index, np.uint8)


def size_of(index: int) -> tuple[int, int]:
    return 8 + index % 3, 9


def which(views) -> list[int]:
    """The images that a batch of views shows."""
    return np.round(np.mean(views, axis=(1, 2, 3)) * 255 / STEP).astype(int).tolist()


def write_records(path, indices, image_key="image/encoded", label_key="image/class/label", label=None) -> None:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for index in indices:
            example = tf.train.Example()
            png = tf.io.encode_png(gray(index, *size_of(index))).numpy()
            example.features.feature[image_key].bytes_list.value.append(png)
            if label_key:
                example.features.feature[label_key].int64_list.value.append(index if label is None else label)
            writer.write(example.SerializeToString())


def make_arrays(directory) -> data.ArraySource:
    images, labels = np.stack([gray(index, 8, 9) for index in range(COUNT)]), np.arange(COUNT)
    np.savez(directory / "images.npz", images=images, labels=labels)
    return data.load(f"npz:{directory / 'images.npz'}")


def make_folder(directory, extension="png", **options) -> data.FolderSource:
    for index in range(COUNT):
        path = directory / f"class{index}" / f"image.{extension}"
        path.parent.mkdir(parents=True)
        Image.fromarray(gray(index, *size_of(index))).save(path)
    return data.load(f"folder:{directory}", **options)


def make_jpeg_folder(directory) -> data.FolderSource:
    return make_folder(directory, "jpg")


def make_records(directory) -> data.TfRecordSource:
    write_records(directory / "a.tfrecord", range(4))
    write_records(directory / "b.tfrecord", range(4, COUNT))
    return data.load(f"tfrecord:{directory}/*.tfrecord")


def make_tfds(directory, shape=(None, None, 3), **options) -> TfdsSource:
    import tensorflow_datasets as tfds

    directory = directory / "grays" / "1.0.0"
    directory.mkdir(parents=True)
    for shard, indices in enumerate((range(4), range(4, COUNT))):
        write_records(directory / f"grays-train.tfrecord-0000{shard}-of-00002", indices, "image", "label")
    features = {"image": tfds.features.Image(shape=shape), "label": tfds.features.ClassLabel(num_classes=COUNT)}
    tfds.folder_dataset.write_metadata(data_dir=directory, features=features, check_data=False)
    return data.load(str(directory), **options)


MAKERS = {
    "arrays": make_arrays,
    "folder": make_folder,
    "jpeg folder": make_jpeg_folder,
    "records": make_records,
    "tfds": make_tfds,
}
