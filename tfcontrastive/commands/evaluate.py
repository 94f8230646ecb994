"""`tfcontrastive evaluate`: what an encoder is worth, by one of several protocols."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

from absl import flags

from tfcontrastive import flags as command_line
from tfcontrastive.commands.logs import show_own_messages
from tfcontrastive.config import BaseConfig, DeviceConfig, InputError, setting
from tfcontrastive.config.values import parse_log_to
from tfcontrastive.system.tables import show_table


@dataclasses.dataclass(frozen=True)
class SubjectConfig(BaseConfig):
    """Which encoder, which images, and where the results go."""

    checkpoint: str | None = setting(None, "model_dir of a run.")
    saved_model: str | None = setting(None, "An exported model, or the base of its versions.")
    encoder: str | None = setting(
        None,
        "A network by name, with random weights: resnet50, keras.applications/NAME, file.py:function; keras_hub/PRESET "
        "has its own.",
    )
    weights: str | None = setting(None, "A file of Keras with the weights of --encoder.")
    dataset: str | None = setting(
        None,
        "A tensorflow-datasets name, folder:PATH, tfrecord:GLOB, npz:FILE, embedded (ships inside), or file.py:function.",
    )
    labels: str | None = setting(None, "CSV file of file,label for the images of a folder.")
    held_out: str | None = setting(
        None, "List of images that are the split held_out, which is measured on; `tfcontrastive fit` writes one."
    )
    output_dir: str | None = setting(None, "Directory for metrics.json, report.html and TensorBoard logs.")
    log_to: str | None = setting(
        None, "Also send the values and the page to a logger: mlflow:URI, wandb or wandb:PROJECT."
    )
    seeds: str | None = setting(None, "Several seeds, such as 0,1,2: mean and standard deviation of the values.")
    baselines: str = setting(
        "auto",
        "Measured beside a probe of features: raw pixels and the network untrained (all), none, or auto: pixels, by kNN.",
        choices=("auto", "all", "none"),
    )

    def __post_init__(self):
        super().__post_init__()
        if self.log_to is not None:
            parse_log_to(self.log_to)


@dataclasses.dataclass(frozen=True)
class EvaluateConfig(BaseConfig):
    """The whole command."""

    protocol: str = setting("knn", "What to measure; one of your own: file.py:Class.")
    evaluator: BaseConfig = setting(None, "The protocol's own config.")
    subject: SubjectConfig = setting(SubjectConfig(), "Which encoder, which images, and where the results go.")
    devices: DeviceConfig = setting(DeviceConfig(), "Which devices do the work.")


def run(argv: Sequence[str]) -> int:
    """Parses the arguments, measures, prints and writes."""
    given, argv = argv, command_line.expand(argv)
    wants_help = any(word in ("--help", "-h", "-help") for word in argv)
    name = command_line.peek([word for word in argv if word not in ("--help", "-h", "-help")], "protocol", "knn")
    from tfcontrastive import protocols

    base = EvaluateConfig(protocol=name, evaluator=protocols.settings_class(name)())
    values = flags.FlagValues()
    flags.DEFINE_string("flagfile", None, "A file of flags, one a line.", values)
    flags.DEFINE_boolean("overwrite", False, "Move another encoder's output_dir aside and start anew.", values)
    if wants_help:
        print(help_text(name, base, values))
        return 0
    command_line.define(base, values)
    command_line.parse(argv, values, foreign=foreign_flags(name), selector="protocol")
    config = command_line.from_flags(base, values)
    measure(config, overwrite=values["overwrite"].value, command=command_line.spelled("evaluate", given))
    return 0


def measure(config: EvaluateConfig, *, overwrite: bool, command: str = "") -> None:
    """Loads the encoder and the images, runs the protocol, prints and writes its values."""
    subject = config.subject
    settings: Any = config.evaluator  # whose fields are its protocol's
    if subject.output_dir is None:
        raise InputError("`output_dir` must be given: --output_dir=results.")
    needs_dataset = getattr(settings, "needs_dataset", True)
    if needs_dataset and subject.dataset is None:
        raise InputError("`dataset` must be given: --dataset=folder:photos, or a name of tensorflow-datasets.")
    if hasattr(settings, "work_dir") and settings.work_dir is None:
        settings = dataclasses.replace(settings, work_dir=f"{subject.output_dir.rstrip('/')}.runs")
    seeds = parsed_seeds(subject.seeds)
    show_own_messages()
    import keras

    from tfcontrastive import data, distribute, protocols, report
    from tfcontrastive.callbacks.loggers import check_logger
    from tfcontrastive.evaluate import taken_by
    from tfcontrastive.pretrained.trained import load_trained
    from tfcontrastive.protocols import measurement
    from tfcontrastive.protocols.results import Result, Results, settings_of

    check_logger(subject.log_to)
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    evaluator: Any = protocols.protocol_class(config.protocol)(**values)
    strategy = distribute.strategy_of(config.devices)
    source = None
    if subject.dataset is not None:
        source = data.load(
            subject.dataset,
            data_dir=getattr(evaluator, "data_dir", None),
            labels=subject.labels,
            held_out=subject.held_out,
        )
    keras.utils.set_random_seed(0)  # the weights of an untrained network are the same each time
    with strategy.scope():
        trained = load_trained(
            checkpoint=subject.checkpoint,
            saved_model=subject.saved_model,
            encoder=subject.encoder,
            weights=subject.weights,
            image_size=getattr(evaluator, "image_size", None),
            channels=source.channels if source is not None else 3,
        )
        source = taken_by(trained, source)
        results = Results(subject.output_dir)
        results.claim(trained, overwrite=overwrite)
        start = time.monotonic()
        if seeds:
            found = measurement.measure_seeds(evaluator, trained, source, seeds)
        else:
            found = measurement.measure(evaluator, trained, source, baselines=subject.baselines)
    if not distribute.is_chief():
        return
    told = settings_of(evaluator)
    if seeds:
        told.pop("seed")
    result = Result(
        config.protocol.rpartition(":")[2],
        subject.dataset if needs_dataset else None,
        told,
        found.metrics,
        found.deviations,
        found.runs,
        round(time.monotonic() - start, 2),
        found.baselines,
        found.images,
        by_class=found.by_class,
    )
    provenance = report.Provenance(command, getattr(evaluator, "seed", None), subject.dataset or "")
    results.add(trained, result, found.details, provenance)
    if subject.log_to is not None:
        log_result(subject.log_to, results, result, trained)
    show(result, trained.name)
    print(f"{results.metrics}  {results.report}")


def log_result(log_to: str, results: Any, result: Any, trained: Any) -> None:
    """Sends what was measured to a logger: the run of the directory, which holds all of its protocols."""
    from tfcontrastive.callbacks.loggers import RunLogger, attach_page

    logger = RunLogger(log_to, results.path, {"encoder": trained.name}, may_fail=True)
    logger.metrics(trained.step, {name: float(value) for name, value in result.metrics.items()})
    logger.finish("finished")
    attach_page(log_to, results.path, results.report)


def parsed_seeds(text: str | None) -> list[int]:
    """`0,1,2` as numbers; none for None."""
    if text is None:
        return []
    try:
        return [int(word) for word in text.split(",")]
    except ValueError as error:
        raise InputError(f"`seeds` must be numbers with commas between them. Received: seeds={text!r}.") from error


def foreign_flags(protocol: str) -> dict[str, list[str]]:
    """Flags of the other protocols that this one does not take: {flag: protocols that take it}."""
    from tfcontrastive.protocols import PROTOCOLS, settings_class

    own = {field.name for field in dataclasses.fields(settings_class(protocol))}
    found: dict[str, list[str]] = {}
    for name, kind in PROTOCOLS.items():
        for field in dataclasses.fields(kind):
            if field.name not in own:
                found.setdefault(field.name, []).append(name)
    return found


def help_text(name: str, base: EvaluateConfig, values: flags.FlagValues) -> str:
    """The help of `evaluate` for one protocol."""
    from tfcontrastive.protocols import PROTOCOLS

    width = max(map(len, PROTOCOLS))
    lines = [f"  {protocol:<{width}}  {summary(kind)}" for protocol, kind in PROTOCOLS.items()]
    title = "\n".join(
        [
            f"tfcontrastive evaluate --protocol={name}: {summary(type(base.evaluator))}",
            "",
            f"Example: tfcontrastive evaluate --protocol={name} --checkpoint=runs/photos --dataset=folder:photos "
            "--output_dir=results",
            "",
            "Protocols, --protocol:",
            *lines,
        ]
    )
    groups = {
        f"Protocol {name}": base.evaluator,
        "Encoder (one of the first three), images, results": base.subject,
        "Devices": base.devices,
        "Command": values,
    }
    return command_line.help_text(title, groups)


def summary(kind: type) -> str:
    """The first line of an evaluator's docstring."""
    return (kind.__doc__ or "").strip().splitlines()[0]


def show(result, encoder: str) -> None:
    """A result on stdout: of what, on what, with which settings, the values."""
    from tfcontrastive.report.result_text import heading, settings_sentence, value_rows

    one = dataclasses.asdict(result)
    print(f"{heading(one)}: {encoder}")
    print(settings_sentence(one))
    columns, rows = value_rows(one, groups=False)  # one of many is in metrics.json and on the page
    show_table("", columns, rows, right=columns[1:])
