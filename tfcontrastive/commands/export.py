"""`tfcontrastive export`: a run's encoder as a SavedModel, or as a LiteRT or ONNX file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags

from tfcontrastive import flags as command_line
from tfcontrastive.commands.logs import show_own_messages
from tfcontrastive.config import InputError

FORMATS = ("saved_model", "tflite", "onnx", "simclr_tf2", "torchvision", "keras_hub")
OF_OTHERS = ("simclr_tf2", "torchvision", "keras_hub")
QUANTIZATIONS = ("none", "float16", "dynamic", "int8", "int8_mixed")
TITLE = """tfcontrastive export: the encoder of a trained run, for other programs.

Example: tfcontrastive export --model_dir=runs/photos --export_dir=exported
The run's data set is not needed, except to calibrate int8."""


def run(argv: Sequence[str]) -> int:
    """Parses the arguments and exports."""
    values = export_flags()
    if any(word in ("--help", "-h", "-help") for word in argv):
        print(command_line.help_text(TITLE, {"Flags": values}))
        return 0
    command_line.parse(command_line.expand(argv), values)
    options = {name: values[name].value for name in values}
    check(options)
    show_own_messages()
    from tfcontrastive import export

    if options["saved_model"] is not None:
        path = export.add_index(
            options["saved_model"], options["index"], options["export_dir"], version=options["version"]
        )
        print(f"SavedModel with {export.read_card(path)['index']['rows']:,} vectors to search in: {path}")
        return 0
    if options["format"] in OF_OTHERS:
        return write_for_others(options)
    loaded = load_run(options)
    if options["format"] == "saved_model":
        path = export.save_model(
            loaded.model,
            options["export_dir"],
            version=options["version"],
            image_size=loaded.config.data.image_size,
            optimize=options["optimize"],
            card=loaded.card,
            preprocessing=loaded.preprocessing,
            index=options["index"],
        )
        print(f"SavedModel of step {loaded.step}: {path}")
    else:
        convert(loaded, options)
    return 0


def export_flags() -> flags.FlagValues:
    """The command's own flags."""
    values = flags.FlagValues()
    flags.DEFINE_string("model_dir", None, "Directory of the run, as given to train.", values)
    flags.DEFINE_string(
        "saved_model", None, "With --index, in place of --model_dir: an export, or the base of its versions.", values
    )
    flags.DEFINE_string(
        "index", None, "Embeddings that this encoder made (`embed`), to be searched inside the SavedModel.", values
    )
    flags.DEFINE_string("export_dir", None, "Where to write: the base of the versions, or of the files.", values)
    flags.DEFINE_enum("format", "saved_model", FORMATS, "saved_model, tflite, onnx; simclr_tf2: a checkpoint of "
                      "google-research/simclr; torchvision: .pth, .safetensors; keras_hub: a preset.", values)  # fmt: skip
    flags.DEFINE_integer("version", None, "Version of the SavedModel; default: the next one.", flag_values=values)
    flags.DEFINE_boolean(
        "optimize",
        None,
        "Fold batch normalisation into the convolutions of the serving signatures, which then keep these weights "
        "whatever is fine-tuned; default: where there is any. --nooptimize for a file of half the size.",
        values,
    )
    flags.DEFINE_enum(
        "quantize",
        "none",
        QUANTIZATIONS,
        "With --format=tflite: none, float16, dynamic, int8, int8_mixed (for transformers).",
        values,
    )
    flags.DEFINE_string(
        "calibration",
        None,
        "Data set to calibrate int8 and to compare on; default: of int8* the run's.",
        values,
    )
    flags.DEFINE_integer("calibration_images", 128, "How many of its images.", flag_values=values)
    flags.DEFINE_integer("image_size", None, "Height and width of the images; default: the run's.", flag_values=values)
    flags.DEFINE_integer("channels", None, "Of the images; default: as the checkpoint says.", flag_values=values)
    return values


def load_run(options: dict[str, Any]) -> Any:
    """The run of pre-training, or of distillation from features, with its newest weights."""
    from tfcontrastive import export
    from tfcontrastive.downstream.student_run import is_student, load_student

    path, size = options["model_dir"], options["image_size"]
    if is_student(path):
        return load_student(path, image_size=size)
    return export.load_run(path, image_size=size, channels=options["channels"])


def check(options: dict[str, Any]) -> None:
    """Refuses what is missing, and flags that would have no effect."""
    for name in ("model_dir", "export_dir"):
        if options[name] is None and not (name == "model_dir" and options["saved_model"] is not None):
            raise InputError(f"`{name}` must be given: tfcontrastive export --model_dir=RUN --export_dir=BASE.")
    if options["saved_model"] is not None:
        if options["model_dir"] is not None or options["index"] is None:
            wanted = "--index, and without --model_dir"
            raise InputError(f"`saved_model` must be given with {wanted}. Received: {_given(options)}.")
        for name in ("optimize", "image_size", "channels"):
            if options[name] is not None:
                raise InputError(f"`{name}` is for --model_dir: an export stays as it is. Received: {_given(options)}.")
    for name in ("image_size", "channels", "calibration_images"):
        if options[name] is not None and options[name] < 1:
            raise InputError(f"`{name}` must be >= 1. Received: {name}={options[name]}.")
    only = {"version": "saved_model", "optimize": "saved_model", "index": "saved_model", "quantize": "tflite"}
    for name, wanted in only.items():
        if options[name] not in (None, False, "none") and options["format"] != wanted:
            raise InputError(
                f"`{name}` is for --format={wanted}. Received: {name}={options[name]} with format={options['format']}."
            )


def _given(options: dict[str, Any]) -> str:
    names = ("model_dir", "saved_model", "index", "optimize", "image_size", "channels")
    return ", ".join(f"{name}={options[name]}" for name in names if options[name] is not None)


def write_for_others(options: dict[str, Any]) -> int:
    """Writes a checkpoint or state dict of another project, and says what has no place there."""
    from tfcontrastive import pretrained
    from tfcontrastive.pretrained.trained import load_trained

    trained = load_trained(checkpoint=options["model_dir"], image_size=options["image_size"])
    if trained.config is None:
        raise InputError(
            f"`format` {options['format']} needs a pre-training run or published weights. Received: {trained.name}."
        )
    paths, left_out = pretrained.save(
        options["export_dir"],
        options["format"],
        encoder=trained.encoder,
        config=trained.config,
        projection_head=trained.projection_head,
        supervised_head=trained.supervised_head,
        facts=trained.facts,
        image_size=trained.image_size,
        preprocessing=trained.preprocessing,
    )
    print("\n".join([*paths, *(f"left out: {what}" for what in left_out)]))
    if trained.preprocessing.normalizes and options["format"] != "keras_hub":
        print(
            f"its images are normalised before it: mean {trained.preprocessing.mean}, std {trained.preprocessing.std}"
        )
    return 0


def convert(loaded: Any, options: dict[str, Any]) -> None:
    """Writes the file and says how near its embeddings are to the SavedModel's."""
    from tfcontrastive import export

    images, compared = samples(loaded, options)
    kind, quantize, size = options["format"], options["quantize"], loaded.config.data.image_size
    suffix = "" if quantize == "none" else f"-{quantize}"
    path = os.path.join(options["export_dir"], f"encoder{suffix}.{kind}")
    with tempfile.TemporaryDirectory() as aside:
        saved = export.save_model(
            loaded.model, aside, image_size=size, optimize=False, card=loaded.card, preprocessing=loaded.preprocessing
        )
        if kind == "tflite":
            done = export.to_tflite(saved, path, image_size=size, quantize=quantize, images=images)
        else:
            done = export.to_onnx(saved, path, image_size=size, images=images)
    print(f"{path}: {done.bytes / 1e6:.2f} MB, of step {loaded.step}")
    print(
        f"against the SavedModel, on {compared}: cosine similarity {done.cosine_similarity:.6f}, "
        f"largest difference {done.max_difference:.2g}"
    )


def samples(loaded: Any, options: dict[str, Any]) -> tuple[np.ndarray | None, str]:
    """Images `[N, S, S, C]` to calibrate and compare on, and what they are."""
    spec = options["calibration"]
    if spec is None and not options["quantize"].startswith("int8"):
        return None, "noise"
    from tfcontrastive import data
    from tfcontrastive.evaluate import taken_by
    from tfcontrastive.runs.model_dir import ModelDir

    config = loaded.config
    source = data.load(
        spec or config.data.dataset,
        data_dir=config.data.data_dir,
        background_color=config.data.background_color,
        intensity_range=config.data.intensity_range,
        max_bad_files=config.data.max_bad_files,
        labels=None if spec else config.data.labels,
        held_out=None if spec else config.data.held_out,
    )
    source = taken_by(loaded.model.encoder, source)
    source.check(None if spec else ModelDir(options["model_dir"]).bad_files)
    split, most = source.splits[0] if spec else config.data.train_split, options["calibration_images"]
    if "[" not in split:  # a slice is a random one, the first images may all be of one class
        split = f"{split}[:{min(most, source.num_examples(split))}]"
    size, rule = config.data.image_size, loaded.preprocessing
    batches = data.eval_batches(source, split, batch_size=32, image_size=size, limit=most, preprocessing=rule)
    images = np.concatenate([batch["image"].numpy() for batch in batches])
    return images, f"{len(images)} images of {source.name}"
