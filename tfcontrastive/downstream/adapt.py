"""Adaptation: a trained encoder goes on with images of one's own, and is measured against itself on the way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcontrastive import data, methods, optimizers
from tfcontrastive.callbacks.keep_best import KeepBest, Reading
from tfcontrastive.config import InputError, LoopConfig, RunConfig, TrainConfig
from tfcontrastive.config.adapt import AdaptConfig
from tfcontrastive.downstream.anchored import AnchoredMoCo, AnchoredSimCLR
from tfcontrastive.downstream.instances import MOST_IMAGES, Instances, InstancesConfig, Numbered
from tfcontrastive.encoders.rebuild import rebuild
from tfcontrastive.methods.configs.moco import MoCoConfig
from tfcontrastive.methods.configs.simclr import SimCLRConfig
from tfcontrastive.optimizers.layer_rates import LayerwiseAdam
from tfcontrastive.planning.cost import estimate
from tfcontrastive.pretrained.trained import Trained
from tfcontrastive.runs.agreement import check_same_data
from tfcontrastive.runs.builders import precision
from tfcontrastive.runs.inputs import make_plan
from tfcontrastive.runs.loop import Prepared, Run, Site
from tfcontrastive.runs.pretrain import first_views
from tfcontrastive.runs.schedule import Plan
from tfcontrastive.runs.settle import settled

KEPT = {"effective_rank": 0.9, "lidar": 0.9}
"""Parts of its ranks that an encoder must keep where there are no labels to say that it is none the worse."""

_QUEUED = 4_096  # keys of MoCo's queue at most


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adaptation(Prepared):
    """An adaptation, prepared.

    Attributes:
        read: measures an encoder on the images that choose.
        directory: where the best weights go.
        labelled: those images have labels.
    """

    read: Callable[[keras.Model], Reading]
    directory: str
    labelled: bool

    @property
    def title(self) -> str:
        return "adapting"

    def batches(self, start_step: int) -> tf.data.Dataset:
        config = self.config
        return data.train_batches(
            Numbered(self.source) if "label" in self.model.batch_keys else self.source,
            config.data.train_split,
            batch_size=config.loop.train_batch_size,
            image_size=config.data.image_size,
            geometry=self.model.policy.geometries,
            seed=config.loop.seed,
            start_step=start_step,
        )

    def first_views(self, batches: tf.data.Dataset, count: int = 8) -> list[tf.Tensor]:
        return first_views(self.model, batches, count)

    def measuring(self) -> KeepBest:
        return KeepBest(
            self.read,
            self.directory,
            every_steps=max(1, self.plan.steps // self.config.measurements),
            last_step=self.plan.steps,
            certainty=self.config.certainty,
            floors={} if self.labelled else KEPT,
        )


def adapting(
    config: AdaptConfig,
    start: Trained,
    source: data.Source,
    read: Callable[[keras.Model], Reading],
    *,
    labelled: bool,
) -> Run:
    """The run that adapts an encoder; `Run.train` keeps the best state that `read` finds, see `KeepBest`.

    Args:
        config: of the run; `loop.model_dir` is needed.
        start: the encoder; it is left as it is.
        source: the images to train on; labels are not looked at.
        read: measures an encoder on other images.
        labelled: by their labels; else a state must keep its effective rank and its LiDAR too.

    Raises:
        InputError: an encoder that cannot be trained, images of other channels, too many of them for the objective.
    """
    check_start(start, source)

    def prepare(site: Site) -> Adaptation:
        settings = settled(config, site.source, site.strategy, stored=site.stored, first_gammas=False)
        plan = make_plan(settings, site.source)
        check_same_data(settings, site.source, plan, site.strategy)
        keras.utils.set_random_seed(settings.loop.seed)
        with site.strategy.scope(), precision(settings.loop.mixed_precision):
            encoder = rebuild(start.encoder, image_size=settings.data.image_size)
            model = anchored_model(settings, encoder, plan)
            model.compile(
                optimizer=optimizer_of(settings, model, plan),
                jit_compile={"auto": "auto", "on": True, "off": False}[settings.loop.jit_compile],
                steps_per_execution=settings.loop.steps_per_execution,
            )
        cost = estimate(model, _as_training(settings), site.replicas)
        return Adaptation(
            config=settings, source=site.source, plan=plan, model=model, cost=cost, read=read,
            directory=site.directory.path, labelled=labelled,
        )  # fmt: skip

    return Run(config, prepare, source=source)


def check_start(start: Trained, source: data.Source) -> None:
    """Refuses an encoder that cannot be adapted to these images. Raises InputError."""
    if not isinstance(start.encoder, keras.Model):
        raise InputError(
            "`saved_model` must tell its architecture to be adapted, as this package's exports do. Received: "
            f"{start.name}. Its features can be measured as they are: tfcontrastive evaluate --protocol=linear."
        )
    if start.channels != source.channels:
        raise InputError(
            f"`dataset` must have images of {start.channels} channels, as {start.name}. Received: {source.channels} "
            f"channels in {source.name}."
        )


def anchored_model(config: AdaptConfig, encoder: keras.Model, plan: Plan) -> methods.ContrastiveModel:
    """The objective on a trained encoder, anchored to what that was; not compiled.

    Raises:
        InputError: too many images for instance classification.
    """
    how: dict[str, Any] = {
        "augmentation": config.augmentation,
        "seed": config.loop.seed,
        "total_steps": plan.steps,
        "anchor": config.anchor,
    }
    if config.objective == "instance":
        if plan.num_examples > MOST_IMAGES:
            raise InputError(
                f"`objective=instance` is for at most {MOST_IMAGES:,} images, each a class. Received: "
                f"{plan.num_examples:,}. Use --objective=simclr."
            )
        settings = InstancesConfig(num_images=plan.num_examples, label_smoothing=config.label_smoothing)
        return Instances(encoder, settings, **how)
    if config.objective == "simclr":
        return AnchoredSimCLR(encoder, SimCLRConfig(temperature=config.temperature, num_proj_layers=2), **how)
    batch = config.loop.train_batch_size
    queue = batch * max(1, min(_QUEUED, plan.num_examples) // batch)
    return AnchoredMoCo(
        encoder,
        MoCoConfig(temperature=config.temperature, queue_size=queue, moco_head="mlp", target_momentum=0.99),
        **how,
    )


def optimizer_of(config: AdaptConfig, model: methods.ContrastiveModel, plan: Plan) -> keras.optimizers.Optimizer:
    """Adam whose rate is small below, and which lets the layers go from the last to the first."""
    depth_of = depths(model.encoder)
    optimizer: Any = LayerwiseAdam(
        plan.schedule,
        depths=[depth_of.get(id(variable)) for variable in model.trainable_variables],
        first_rate=config.first_layer_rate,
        head_steps=round(config.head_only * plan.steps),
        open_steps=round(config.unfreeze * plan.steps),
        global_clipnorm=config.optimizer.clip_norm or None,
    )
    return optimizers.LossScale(optimizer) if config.loop.mixed_precision == "float16" else optimizer


def depths(encoder: keras.Model) -> dict[int, float]:
    """How high each weight of an encoder lies, by `id`: 0 of the first, 1 of the last, in the order in which it has them."""
    variables = encoder.trainable_variables
    places = np.linspace(0.0, 1.0, len(variables)) if len(variables) > 1 else np.ones(len(variables))
    return {id(variable): float(place) for variable, place in zip(variables, places, strict=True)}


def adapted_encoder(start: Trained, trained: keras.Model, *, image_size: int) -> keras.Model:
    """A new network like the one that was started from, in float32, with the weights of another of its kind."""
    with precision("float32"):
        encoder = rebuild(start.encoder, image_size=image_size, weights=False)
    for old, new in zip(trained.variables, encoder.variables, strict=True):
        new.assign(old)
    return encoder


def own_size(start: Trained) -> int | None:
    """Height and width that an encoder was made for; None where it takes any and does not say."""
    shape = start.input_shape
    return start.image_size or (None if shape is None else shape[1])


def _as_training(config: AdaptConfig) -> TrainConfig:
    """The same as a pre-training, whose cost is known."""
    shared = {field.name: getattr(config.loop, field.name) for field in dataclasses.fields(RunConfig)}
    return TrainConfig(
        method_config=SimCLRConfig(),
        data=config.data,
        augmentation=config.augmentation,
        optimizer=config.optimizer,
        loop=LoopConfig(**shared),
    )
