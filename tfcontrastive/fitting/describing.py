"""What a dry run says: what the images are, and what would be decided. Nothing is trained or written."""

from __future__ import annotations

import dataclasses

from tfcontrastive.fitting.choices import decide
from tfcontrastive.fitting.choosing import FRACTION
from tfcontrastive.fitting.memory import within_memory
from tfcontrastive.fitting.request import Request
from tfcontrastive.fitting.start import start_of
from tfcontrastive.fitting.survey import survey
from tfcontrastive.runs.inputs import eval_split, load_source
from tfcontrastive.runs.pretrain import images_of_run
from tfcontrastive.system.precision import fastest, resolve


def describe(request: Request) -> list[str]:
    """The lines of a dry run. The rate of training is not measured, so that the number of steps is left open.

    Raises:
        InputError: as `fit`, but for what concerns the directory.
    """
    config, asked = request.config, request.asked
    source = load_source(config, fetch=False)
    if source.missing:
        return [f"{source.name}: {source.missing}; what would be decided is not known before the images are here."]
    seen = survey(source)
    held_out = config.data.held_out or eval_split(config, source)
    lines = [*seen.lines(), f"Held out: {held_out or 'about 20% of each class would be'}."]
    config, start = start_of(config, asked)
    source = images_of_run(source, start)
    seen = dataclasses.replace(seen, channels=source.channels)
    precision = config.loop.mixed_precision
    config, choices = decide(
        config,
        seen,
        asked=asked | ({"image_size"} if start is not None else set()),
        minutes=request.minutes,
        num_images=source.num_examples(config.data.train_split),
        precision=fastest() if precision == "auto" else resolve(precision),
        started=start is not None,
    )
    _, choices = within_memory(config, choices, source, asked)
    if start is not None or config.encoder.encoder.startswith("keras_hub/"):
        lines.append(
            f"About {FRACTION:.0%} of the images of each class that are left would choose between what comes out and the "
            "weights that it starts from."
        )
    return lines + [choice.line() for choice in choices]
