"""`tfcontrastive plan`: memory, network and time of a run on hardware that need not be here."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from absl import flags

from tfcontrastive import flags as command_line
from tfcontrastive.commands.classifier import stored_encoder
from tfcontrastive.commands.main import import_tensorflow
from tfcontrastive.commands.run_flags import encoder_of_start
from tfcontrastive.commands.train import config_of, foreign_flags
from tfcontrastive.config import InputError, TrainConfig
from tfcontrastive.system.hardware import HARDWARE, hardware_of

TITLE = """tfcontrastive plan: what a run would take of memory, network and time, on any number of replicas.

Example: tfcontrastive plan --recipe=simclr_imagenet_r50 --replicas=128 --hardware=tpu_v3
Every flag of `tfcontrastive train` may be given too. Nothing is allocated or written."""

MANY, CLASSES = 1_281_167, 1_000  # images and classes: ImageNet's


def run(argv: Sequence[str]) -> int:
    """Parses the arguments and prints the plan."""
    argv = command_line.expand(argv)
    values = plan_flags()
    if any(word in ("--help", "-h", "-help") for word in argv):
        print(command_line.help_text(TITLE, {"Flags": values}))
        return 0
    name = command_line.peek(argv, "method", "simclr")
    base = TrainConfig(method=name, method_config=config_of(name))
    command_line.define(base, values)
    command_line.parse(argv, values, foreign=foreign_flags(name))
    config = command_line.from_flags(base, values)
    if config.loop.checkpoint is not None:
        config = with_encoder_of(config, values)
    print(describe(config, values["replicas"].value, values["hardware"].value, values["channels"].value))
    return 0


def with_encoder_of(config: TrainConfig, values: flags.FlagValues) -> TrainConfig:
    """The config with the encoder of its `--checkpoint`, as `train` takes it.

    Raises:
        InputError: the checkpoint does not tell its encoder, or flags ask for another.
    """
    import_tensorflow()
    held = stored_encoder(config.loop.checkpoint, None)
    if held is None:
        raise InputError(
            f"`checkpoint` must be a pre-training run or published weights. Received: {config.loop.checkpoint}."
        )
    return dataclasses.replace(config, encoder=encoder_of_start(held, values))


def plan_flags() -> flags.FlagValues:
    """The command's own flags."""
    values = flags.FlagValues()
    flags.DEFINE_string("recipe", None, "A packaged flag file; flags on the command line override it.", values)
    flags.DEFINE_string("flagfile", None, "A file of flags, one a line.", values)
    flags.DEFINE_integer("replicas", 1, "Devices that train together.", flag_values=values)
    flags.DEFINE_string("hardware", "cpu", f"The device of a replica: {', '.join(HARDWARE)}.", values)
    flags.DEFINE_integer("channels", 3, "Channels of the images.", flag_values=values)
    return values


def describe(config: TrainConfig, replicas: int, hardware: str, channels: int) -> str:
    """The plan as text."""
    for name, value in {"replicas": replicas, "channels": channels}.items():
        if value < 1:
            raise InputError(f"`{name}` must be >= 1. Received: {name}={value}.")
    device = hardware_of(hardware)
    import_tensorflow()
    from tfcontrastive.data import ImageSpec
    from tfcontrastive.methods import method_class
    from tfcontrastive.planning import cost
    from tfcontrastive.runs.builders import build_method
    from tfcontrastive.runs.schedule import Plan, check_batch, filled_in
    from tfcontrastive.system.precision import fastest, with_precision

    # Its size is not known: the batch is the usual one, and nothing that depends on the data is told.
    config, _ = filled_in(config, num_examples=MANY, replicas=replicas)
    check_batch(config, replicas)
    if config.loop.mixed_precision == "auto":
        chosen = fastest().name if hardware == "cpu" else device.auto_precision  # `cpu` is this machine's
        config = with_precision(config, chosen)
    loop = config.loop
    plan = Plan.make(config, num_examples=loop.train_batch_size)
    labelled = "label" in method_class(config.method).batch_keys
    images = ImageSpec(channels, CLASSES if labelled else None, "the plan")
    model = cost.shapes_only(lambda: build_method(config, images, plan))
    costs = cost.estimate(model, config, replicas)

    half = loop.mixed_precision != "float32"
    seconds, step = costs.seconds(device, half=half), costs.step_seconds(device, half=half)
    total = costs.total_memory
    fits = "fits" if total < device.memory else "DOES NOT FIT: see --micro_batch_size, --mixed_precision=bfloat16"
    width = max(map(len, costs.memory))
    return "\n".join(
        [
            f"{config.method}, {config.encoder.encoder}, {config.data.image_size} pixels, {loop.mixed_precision}: "
            f"a batch of {loop.train_batch_size:,} on {replicas:,} x {hardware}, "
            f"{loop.train_batch_size // replicas:,} images each",
            f"parameters   {costs.parameters:,} trainable",
            f"memory       {size_of(total)} of {size_of(device.memory)} a replica: {fits}",
            *(f"  {name:<{width}}  {size_of(size):>9}" for name, size in costs.memory.items()),
            "network      a replica receives in a step",
            *(f"  {name:<{width}}  {size_of(size):>9}" for name, size in costs.received.items()),
            f"step         {step:.3g} s at best, {loop.train_batch_size / step:,.0f} images/s: "
            + ", ".join(f"{name} {value:.2g} s" for name, value in seconds.items()),
            f"  from {(device.half if half else device.float32) / 1e12:g} TFLOP/s, {device.bandwidth / 1e9:g} GB/s of "
            f"memory and {device.link / 1e9:g} GB/s between replicas; compute and memory overlap",
        ]
    )


def size_of(count: float) -> str:
    """Bytes in a unit that reads well."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if count >= scale:
            return f"{count / scale:.2f} {unit}"
    return f"{count / 1e3:.1f} kB"
