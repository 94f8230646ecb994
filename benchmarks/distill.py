"""What a student learns from a teacher's features, beside the same network by SSL alone in as many seconds.

    python benchmarks/distill.py --teacher=FILE --dataset=embedded:3 --width=0.125 --epochs=20
    python benchmarks/distill.py --teacher=runs/a --dataset=embedded --losses=similarity,regression
    python benchmarks/distill.py --teacher=FILE --teacher_size=96 --dataset=shapes --stem=strided --size=32 --ssl --serve
    python benchmarks/distill.py --table                          # only print what was measured so far

A teacher is the directory of a run, an export, or published weights. `embedded:3` are the embedded images with their
gray in three channels, `npz:FILE` any others, with a test split, which is reported on; of `digits`, `surfaces` and
`shapes` (benchmarks/adapt_sets.py, three channels) it is a fifth of each class, drawn by --seed. A row is one
student: kNN of teacher and student, what is kept, the operations of both, images a second of both (batches of 32, one
after the other), the cosine of its int8 file to it on 128 training images, and kNN of the same network after SimCLR
alone, with the settings of `tfcontrastive fit`, for as many seconds as the teacher's features and the student's
training took together. A line of JSON is appended to --output for each student.
"""

import argparse
import json
import pathlib
import tempfile
import time

import numpy as np
from machine import machine

MADE = ("digits", "surfaces", "shapes")


def made_source(name: str, folder: str, seed: int):
    """A set of benchmarks/adapt_sets.py in three channels, a fifth of each class apart."""
    from adapt import images_of

    from tfcontrastive import data
    from tfcontrastive.fitting.holdout import hold_out

    whole = images_of(name, 3, folder)
    labels = data.labels_of(whole, "train")
    apart = hold_out(labels, np.arange(len(labels)), seed=seed)
    rest = np.setdiff1d(np.arange(len(labels)), apart)
    return data.Subset(whole, {"train": ("train", rest), "test": ("train", apart)})


def source_of(name: str, folder: str, seed: int):
    """The images, as a source."""
    from tfcontrastive import data

    if name in MADE:
        return made_source(name, folder, seed)
    if name != "embedded:3":
        return data.load(name)
    whole, path = data.load("embedded"), f"{folder}/embedded_3.npz"
    arrays = {}
    for split in ("train", "test"):
        images, labels = whole.arrays(split)
        arrays |= {f"x_{split}": images.repeat(3, axis=-1), f"y_{split}": labels}
    np.savez(path, **arrays)
    return data.load(f"npz:{path}")


def student_of(options: argparse.Namespace):
    """The student's network."""
    from tfcontrastive.config import EncoderConfig

    if options.student == "vit":
        heads = {"vit_depth": options.depth, "width_multiplier": options.width, "patch_size": options.patch}
        return EncoderConfig(encoder="vit_small", stop_grad_conv1=False, **heads)
    return EncoderConfig(resnet_depth=18, width_multiplier=options.width, stem=options.stem)


def distilled(options: argparse.Namespace, source, loss: str, folder: str):
    """The result, and the seconds that features and training took."""
    from tfcontrastive.config import DataConfig, OptimizerConfig, RunConfig
    from tfcontrastive.config.distill_features import FeatureDistillConfig
    from tfcontrastive.downstream.distill_features import distill_features

    plain = FeatureDistillConfig()
    augmentation = plain.augmentation
    if options.crop:
        augmentation = type(augmentation)(augmentation="crop", crop_min_area=options.crop)
    config = FeatureDistillConfig(
        teacher=options.teacher,
        teacher_image_size=options.teacher_size,
        feature_loss=loss,
        feature_views=options.views,
        feature_cache=options.cache,
        temperature=options.temperature,
        teacher_temperature=options.teacher_temperature,
        data=DataConfig(dataset=source.name, image_size=options.size),
        augmentation=augmentation,
        encoder=student_of(options),
        optimizer=OptimizerConfig(optimizer="adamw", learning_rate=options.rate, weight_decay=1e-4),
        loop=RunConfig(
            model_dir=f"{folder}/student",
            train_batch_size=options.batch,
            train_epochs=options.epochs,
            seed=options.seed,
            mixed_precision=options.precision,
        ),
    )
    began, marks = time.monotonic(), []

    def say(line: str) -> None:
        marks.append((time.monotonic(), line))
        print(line, flush=True)

    done = distill_features(config, source=source, say=say)
    features = [at for at, line in marks if line.startswith("features of")]
    return done, (features[-1] - began if features else 0.0), done.seconds


def by_ssl(options: argparse.Namespace, source, seconds: float, folder: str) -> tuple[dict, float, int]:
    """kNN of the same network after SimCLR alone, the seconds it trained for, and its steps."""
    from tfcontrastive.config import DataConfig, LoopConfig, OptimizerConfig, TrainConfig, replace_flat
    from tfcontrastive.fitting.choices import augmentation
    from tfcontrastive.fitting.survey import survey
    from tfcontrastive.methods.configs.simclr import SimCLRConfig
    from tfcontrastive.runs.pretrain import train

    def run(steps: int, name: str):
        config = TrainConfig(
            method_config=SimCLRConfig(temperature=0.2, num_proj_layers=2),
            data=DataConfig(dataset=source.name, image_size=options.size),
            encoder=student_of(options),
            optimizer=OptimizerConfig(optimizer="adamw", learning_rate=0.004, weight_decay=1e-4),
            loop=LoopConfig(
                model_dir=f"{folder}/{name}",
                train_batch_size=options.batch,
                train_steps=steps,
                seed=options.seed,
                knn_epochs=0,
                mixed_precision=options.precision,
            ),
        )
        values = {one.name: one.value for one in augmentation(survey(source), options.size)}
        return train(replace_flat(config, values), source=source, say=lambda line: None)

    few, more = run(40, "few"), run(140, "more")
    rate = 100 / max(more.seconds - few.seconds, 1e-3)
    done = run(max(50, round(seconds * rate)), "ssl")
    return done.metrics, done.seconds, done.plan.steps


def images_per_second(encoder, shape: tuple[int, ...]) -> float:
    """Of an encoder as it serves: batches of 32 in a compiled function."""
    import tensorflow as tf

    call = tf.function(lambda images: encoder(images, training=False), input_signature=[tf.TensorSpec([32, *shape])])
    images = tf.random.stateless_uniform([32, *shape], [0, 1])
    for _ in range(3):
        call(images)
    best = np.inf
    for _ in range(5):
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < 1.0:
            call(images).numpy()
            count += 1
        best = min(best, (time.perf_counter() - began) / count)
    return 32 / best


def in_int8(done, folder: str) -> float:
    """The cosine of the student's int8 file to the student, on 128 training images."""
    from tfcontrastive import data, export
    from tfcontrastive.config import InputError

    size = done.config.data.image_size
    rows = data.eval_batches(
        done.source, "train[:128]", batch_size=128, image_size=size, preprocessing=done.preprocessing
    )
    images = next(iter(rows))["image"].numpy()
    saved = export.save_model(done.encoder, f"{folder}/saved", image_size=size, preprocessing=done.preprocessing)
    path = f"{folder}/student-int8.tflite"
    try:
        return export.to_tflite(saved, path, image_size=size, quantize="int8", images=images).cosine_similarity
    except InputError as error:  # below .98 it is not written
        print(error)
        return float("nan")


def measured(options: argparse.Namespace, output: pathlib.Path) -> list[dict]:
    """Each student, measured."""
    from tfcontrastive.planning.cost import forward_flops

    rows = []
    if options.ssl_seconds:  # of a student that was measured before
        with tempfile.TemporaryDirectory() as folder:
            source = source_of(options.dataset, folder, options.seed)
            found, seconds, steps = by_ssl(options, source, options.ssl_seconds, folder)
        print(f"SSL alone: {options.dataset}, {steps} steps in {seconds:.0f} s: {found}")
        return rows
    for loss in options.losses.split(","):
        with tempfile.TemporaryDirectory() as folder:
            source = source_of(options.dataset, folder, options.seed)
            done, features, training = distilled(options, source, loss, folder)
            made, metrics = done.prepared, done.metrics
            student, teacher = made.model.encoder, made.teacher
            stem = "" if options.stem == "auto" else f", {options.stem} stem"
            row = {
                "teacher": options.name or options.teacher, "set": options.dataset, "loss": loss,
                "student": f"{options.student} {options.width:g}{stem}",
                "epochs": options.epochs, "seed": options.seed,
                "settings": vars(options), "metrics": metrics, "features_seconds": features, "seconds": training,
            }  # fmt: skip
            shape = (made.teacher_size, made.teacher_size, source.channels)
            row["flops"] = forward_flops(student, options.size), forward_flops(teacher.encoder, made.teacher_size)
            if options.serve:
                row["per_second"] = (
                    images_per_second(student, (options.size, options.size, source.channels)),
                    images_per_second(teacher, shape),
                )
                row["int8_cosine"] = in_int8(done, folder)
            if options.ssl:
                found, seconds, steps = by_ssl(options, source, features + training, folder)
                row |= {"ssl": found, "ssl_seconds": seconds, "ssl_steps": steps}
        rows.append(row)
        with output.open("a") as file:
            file.write(json.dumps(row, default=str) + "\n")
        print(table([row]), flush=True)
    return rows


def table(rows: list[dict]) -> str:
    """A line for each student."""
    lines = [
        "| teacher | set | student | loss | epochs | teacher kNN | student kNN | kept | cosine | operations | images/s | "
        "int8 | SSL alone kNN | features + training, s | SSL, s |",
        "|" + "---|" * 15,
    ]
    for row in rows:
        metrics, (own, its) = row["metrics"], row["flops"]
        serves = "" if "per_second" not in row else f"x {row['per_second'][0] / row['per_second'][1]:.1f}"
        int8 = "" if "int8_cosine" not in row else f"{row['int8_cosine']:.4f}"
        ssl, ssl_seconds = (
            ("", "") if "ssl" not in row else (f"{row['ssl']['knn_top1']:.1%}", f"{row['ssl_seconds']:.0f}")
        )
        lines.append(
            f"| {row['teacher']} | {row['set']} | {row['student']} | {row['loss']} | {row['epochs']} | "
            f"{metrics['teacher_knn_top1']:.1%} | {metrics['knn_top1']:.1%} | {metrics['knn_kept']:.1%} | "
            f"{metrics['feature_cosine']:.3f} | 1/{its / own:.1f} | {serves} | {int8} | {ssl} | "
            f"{row['features_seconds']:.0f} + {row['seconds']:.0f} | {ssl_seconds} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher")
    parser.add_argument("--name", default="", help="of the teacher, in the table")
    parser.add_argument("--teacher_size", type=int, default=None)
    parser.add_argument("--dataset", default="embedded")
    parser.add_argument("--size", type=int, default=28, help="of the student's images")
    parser.add_argument("--student", default="resnet", choices=("resnet", "vit"))
    parser.add_argument("--width", type=float, default=0.125)
    parser.add_argument("--stem", default="auto", help="of a ResNet")
    parser.add_argument("--depth", type=int, default=4, help="of a ViT")
    parser.add_argument("--patch", type=int, default=4, help="of a ViT")
    parser.add_argument("--losses", default="regression")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--crop", type=float, default=None, help="crop_min_area")
    parser.add_argument("--rate", type=float, default=0.004)
    parser.add_argument("--temperature", type=float, default=0.2)
    parser.add_argument("--teacher_temperature", type=float, default=0.01)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--cache", default=None)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ssl", action="store_true", help="train the student's network by SSL alone too")
    parser.add_argument("--ssl_seconds", type=float, default=0, help="train it for so many seconds, and nothing else")
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--output", default="distill.jsonl")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    output = pathlib.Path(options.output)
    print(machine())
    if options.table:
        print(table([json.loads(line) for line in output.read_text().splitlines()]))
    else:
        measured(options, output)


if __name__ == "__main__":
    main()
