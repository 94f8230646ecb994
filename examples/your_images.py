"""From a folder of images to an encoder of them: train, measure, export, embed, find similar images.

    python examples/your_images.py                          # on 4,000 images of Fashion-MNIST, written as PNG files first
    python examples/your_images.py photos --image_size=96   # on your own; sub-folders are labels, where there are any

SimCLR (https://arxiv.org/abs/2002.05709) trains a small ResNet-18 without looking at a label. Labels only measure it: a
held-out fifth of the images is classified by its nearest neighbours among the rest, before the training and after it.

On 2 cores the default takes about 2 minutes; `--epochs=1 --limit=500` shows in half of one that all is in place.
"""

import argparse
import pathlib
import tempfile

from PIL import Image

import tfcontrastive as tfc


def network(size, channels):
    """The encoder, images `[B, size, size, channels]` to features `[B, 128]`; any `keras.Model` that does so will do."""
    return tfc.ResNet(18, width_multiplier=0.25, zero_init_residual=False, input_shape=(size, size, channels))


def write_folder(folder, limit):
    """Writes `limit` of the images that ship with the package as PNG files, a sub-folder for each class."""
    source = tfc.data.load("embedded")
    for number, (image, label) in enumerate(zip(*source.arrays(f"train[:{limit}]"), strict=True)):
        path = folder / source.class_names[label].replace("/", " or ") / f"{number:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[:, :, 0]).save(path)


def train(source, split, args):
    """The trained model, and its network's kNN accuracy before the training (None without labels)."""
    encoder = network(args.image_size, source.channels)
    # SimCLR's crops hold 8% of a photograph or more; of a small image, so little says nothing.
    augmentation = tfc.AugmentConfig(crop_min_area=0.5 if args.image_size <= 32 else None)
    model = tfc.SimCLR(encoder, tfc.SimCLRConfig(temperature=0.2), augmentation=augmentation)
    how = {"batch_size": args.batch_size, "image_size": args.image_size, "geometry": model.policy.geometry}
    batches = tfc.data.train_batches(source, split, seed=0, **how)
    for batch in batches.take(20):  # the untrained network gets the data's batch-norm statistics, for a fair comparison
        encoder(batch["views"][0], training=True)
    before = measure(model, source)
    model.compile(optimizer=tfc.optimizers.build("adamw", 0.002, weight_decay=1e-4))
    model.fit(batches, steps_per_epoch=source.num_examples(split) // args.batch_size, epochs=args.epochs, verbose=2)
    return model, before


def measure(model, source):
    """The share of held-out images that their nearest neighbours classify rightly."""
    if source.num_classes is None:
        return None
    knn = tfc.evaluate.KNN(k=20, train_split="train[:80%]", eval_split="train[80%:]")
    return knn.run(model.encoder, source)["knn_top1"]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", help="your images; default: some of the package's own, as files")
    parser.add_argument("--image_size", type=int, default=28, help="height and width that the network sees")
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--limit", type=int, default=4000, help="images to write where no folder is given")
    parser.add_argument("--output", help="where to leave model and vectors; default: a new temporary directory")
    args = parser.parse_args(argv)
    output = pathlib.Path(args.output or tempfile.mkdtemp(prefix="your_images_"))
    folder = pathlib.Path(args.folder or output / "images")
    if args.folder is None:
        write_folder(folder, args.limit)

    source = tfc.data.load(f"folder:{folder}")
    bad = source.check()  # files that cannot be read are left out from here on
    print(f"{source.num_examples('train')} images, {source.num_classes or 'no'} classes, {len(bad)} unreadable files")
    model, before = train(source, "train[:80%]" if source.num_classes else "train", args)
    if before is not None:
        print(f"kNN top-1: {before:.1%} untrained, {measure(model, source):.1%} trained")

    exported = tfc.export.save_model(model, output / "exported")
    vectors = output / "vectors" / pathlib.Path(exported).name  # vectors of two models are not to be mixed
    tfc.export.embed_images(exported, tfc.export.folder_items(folder), vectors)
    files = tfc.export.EmbeddingFiles(vectors)
    (names,), (similarities,) = tfc.export.nearest(files, files.load()[:1], k=5, exclude=files.ids[:1])
    print(f"Most similar to {files.ids[0]}:")
    for name, similarity in zip(names, similarities, strict=True):
        print(f"  {similarity:.3f}  {name}")
    print(f"The SavedModel is {exported}, the vectors are in {vectors}.")


if __name__ == "__main__":
    main()
