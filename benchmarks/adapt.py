"""Is an adapted encoder ever worse than it was? What `tfcontrastive adapt` takes, over sets, encoders and seeds.

    python benchmarks/adapt.py --encoders=ours=runs/fashion,lite0=FILE      # three sets, ten seeds: hours of 2 cores
    python benchmarks/adapt.py --encoders=ours=runs/fashion --seeds=0,1 --sets=digits --objectives=instance,simclr
    python benchmarks/adapt.py --table                                      # only print what was measured so far

An encoder is the directory of a run, an export, or published weights; without --encoders it is SimCLR on the embedded
images, trained first. Each run sets a fifth of the images apart to report on and a quarter of the rest to choose by, both by
its seed, adapts for --steps steps, and measures on the reported images: the encoder as it was, what was chosen, and the best
state on the way even where it was not taken. Seeds differ in the images of each part, their order and their views; nothing
is compiled twice, and the head begins with the same weights. `scratch` is the same network from its first weights, taught by
SimCLR in --scratch_steps times as many steps; the seconds of processor of both are told. A line of JSON is appended to
--output after each run, and what stands there is not run again.
"""

import argparse
import dataclasses
import json
import pathlib
import statistics
import tempfile
import time

import numpy as np
from machine import machine

SETS = ("digits", "surfaces", "shapes")
WORST = -0.005  # what the chosen encoder may lose on the reported images


def images_of(name: str, channels: int, folder: str):
    """A set of benchmarks/adapt_sets.py as a source."""
    import adapt_sets

    from tfcontrastive import data

    path = pathlib.Path(folder) / f"{name}_{channels}.npz"
    images, labels = getattr(adapt_sets, name)()
    np.savez(path, images=images.repeat(channels, axis=-1), labels=labels)
    return data.load(f"npz:{path}")


class Adaptations:
    """Adaptations of one encoder to one set, seed after seed. Nothing is compiled twice: weights are set back in between.

    Args:
        start: the encoder.
        name: of the set.
        folder: for files.
        size, steps, settings: of each run; all but the seed are the same.
    """

    def __init__(self, start, name: str, folder: str, *, size: int | None, steps: int, **settings):
        import keras

        from tfcontrastive import data
        from tfcontrastive.config import DataConfig, replace_flat
        from tfcontrastive.config.adapt import AdaptConfig
        from tfcontrastive.downstream.adapt import own_size
        from tfcontrastive.encoders.rebuild import rebuild
        from tfcontrastive.fitting.choices import augmentation
        from tfcontrastive.fitting.survey import survey

        keras.backend.clear_session()
        self.start, self.folder = start, folder
        self.whole = images_of(name, start.channels, folder)
        self.labels = data.labels_of(self.whole, "train")
        size = size or own_size(start) or 32
        values = {one.name: one.value for one in augmentation(survey(self.whole), size)}
        values |= {"train_steps": steps, "train_batch_size": 64, "image_size": size, **settings}
        self.by_views = values.pop("unlabelled", False)
        config = AdaptConfig(checkpoint="given", data=DataConfig(dataset=self.whole.name))
        self.config = replace_flat(config, values)
        self.frozen = rebuild(start.encoder, image_size=size)
        self.adapted = rebuild(start.encoder, image_size=size)
        self.made, self.extractors, self.first = None, {}, []

    def prepared(self, config, parts, chooser):
        """The run of a seed, with a model whose weights are its first ones."""
        from tfcontrastive.downstream.adapt import adapting

        if self.made is None:
            made = adapting(config, self.start, parts.source, chooser, labelled=parts.labelled).prepare(anew=True)
            made.model.optimizer.build(made.model.trainable_variables)
            self.made = made
            self.first = [variable.numpy() for variable in self.variables()]
        assert self.made.plan.num_examples == parts.source.num_examples("train")
        for variable, value in zip(self.variables(), self.first, strict=True):
            variable.assign(value)
        return dataclasses.replace(
            self.made, config=config, source=parts.source, read=chooser, directory=config.loop.model_dir,
            labelled=parts.labelled,
        )  # fmt: skip

    def variables(self):
        return [*self.made.model.variables, *self.made.model.optimizer.variables]

    def run(self, seed: int) -> dict:
        """Adapts once and measures on the images that neither taught nor chose."""
        from tfcontrastive import data
        from tfcontrastive.config import replace_flat
        from tfcontrastive.downstream.instances import Instances
        from tfcontrastive.fitting.choosing import Chooser, parts_of
        from tfcontrastive.fitting.holdout import hold_out
        from tfcontrastive.fitting.judging import judge
        from tfcontrastive.fitting.measure import Measure

        began, count = time.monotonic(), len(self.labels)
        rows = hold_out(self.labels, np.arange(count), seed=seed)
        rest = np.setdiff1d(np.arange(count), rows)
        source = data.Subset(self.whole, {"train": ("train", rest), "held_out": ("train", rows)})
        config = replace_flat(self.config, {"seed": seed, "model_dir": f"{self.folder}/{seed}"})
        parts = parts_of(
            source, self.labels[rest], np.arange(len(rest)), f"{self.folder}/choosing_{seed}.json", seed=seed,
            num_classes=self.whole.num_classes,
        )  # fmt: skip
        parts = dataclasses.replace(parts, labelled=parts.labelled and not self.by_views)
        chooser = Chooser(parts, config, self.start.preprocessing, Instances.make_policy(config.augmentation))
        chooser._extractors = self.extractors
        made = self.prepared(config, parts, chooser)
        keep, processor, trained = made.measuring(), time.process_time(), time.monotonic()
        made.model.fit(made.batches(0), epochs=1, steps_per_epoch=config.loop.train_steps, callbacks=[keep], verbose=0)
        trained, processor = time.monotonic() - trained, time.process_time() - processor
        best = keep.restore(made.model.encoder)
        linear = None
        if best is not None and best["worth"] > config.margin and parts.labelled:
            linear = chooser.linear(made.model.encoder), chooser.linear(made.model.start)
        found = judge(best, probe=chooser.probe, margin=config.margin, certainty=config.certainty, linear=linear)
        measure = Measure(config, source, "held_out", self.start.preprocessing)
        self.adapted.set_weights(made.model.encoder.get_weights())
        frozen, adapted = (measure.metrics(self.features(measure, one)) for one in (self.frozen, self.adapted))
        chosen = adapted if found.chosen == "adapted" else frozen
        return {
            "chosen": found.chosen, "gain": chosen["knn_top1"] - frozen["knn_top1"],
            "frozen": frozen, "adapted": adapted, "reason": found.reason, "facts": found.facts,
            "steps": [[row["step"], round(row["gain"], 4), round(row["error"], 4)] for row in keep.rows],
            "reported": len(rows), "train_seconds": trained, "processor": processor,
            "seconds": time.monotonic() - began,
        }  # fmt: skip

    def features(self, measure, encoder):
        """As `Measure.features`, by an extractor that is kept."""
        from tfcontrastive import evaluate
        from tfcontrastive.fitting.measure import Features

        extract = self.extractors.setdefault(id(encoder), evaluate.FeatureExtractor(encoder))
        found = [array for split in ("train", "held_out") for array in extract(measure.batches(split))]
        return Features(*found, num_classes=self.whole.num_classes)


def scratch(name: str, seed: int, *, channels: int, size: int, steps: int, encoder) -> dict:
    """The same network from its first weights, by SimCLR in as many steps on the same images."""
    from tfcontrastive import data
    from tfcontrastive.config import DataConfig, LoopConfig, OptimizerConfig, TrainConfig, replace_flat
    from tfcontrastive.fitting.choices import augmentation
    from tfcontrastive.fitting.holdout import hold_out
    from tfcontrastive.fitting.measure import Measure
    from tfcontrastive.fitting.survey import survey
    from tfcontrastive.methods.configs.simclr import SimCLRConfig
    from tfcontrastive.runs.pretrain import train

    with tempfile.TemporaryDirectory() as folder:
        whole = images_of(name, channels, folder)
        labels = data.labels_of(whole, "train")
        rows = hold_out(labels, np.arange(len(labels)), seed=seed)
        source = data.Subset(
            whole, {"train": ("train", np.setdiff1d(np.arange(len(labels)), rows)), "held_out": ("train", rows)}
        )
        config = TrainConfig(
            method_config=SimCLRConfig(temperature=0.2, num_proj_layers=2),
            data=DataConfig(dataset=whole.name, image_size=size, eval_split="held_out"),
            encoder=encoder,
            optimizer=OptimizerConfig(optimizer="adamw", learning_rate=0.004, weight_decay=1e-4),
            loop=LoopConfig(model_dir=f"{folder}/run", train_batch_size=64, train_steps=steps, seed=seed, knn_epochs=0),
        )
        config = replace_flat(config, {one.name: one.value for one in augmentation(survey(whole), size)})
        processor = time.process_time()
        done = train(config, source=source, say=lambda line: None)
        processor = time.process_time() - processor
        return {
            "metrics": Measure(done.config, source, "held_out")("trained", done.model.encoder).metrics,
            "train_seconds": done.seconds,
            "processor": processor,
        }


def rejudged(row: dict, certainty: float, margin: float = 0.005) -> dict:
    """The same run as a stricter guard would have ended it. Where it would have kept another state, it must be run again."""
    if row["objective"] == "scratch" or "step" not in row["facts"]:
        return row
    step, gain, error = max(row["steps"], key=lambda one: one[1] - certainty * one[2])
    taken = gain - certainty * error > margin
    if taken and (step != row["facts"]["step"] or certainty < row["facts"]["certainty"]):
        raise SystemExit(f"run again with --set=certainty={certainty}: {row['id']}")
    taken = taken and row["chosen"] == "adapted"
    change = row["adapted"]["knn_top1"] - row["frozen"]["knn_top1"] if taken else 0.0
    return {**row, "chosen": "adapted" if taken else "frozen", "gain": change}


def table(rows: list[dict]) -> str:
    """A line for each encoder, set and objective."""
    lines = [
        "| encoder | set | objective | seeds | frozen kNN | adapted taken | gain: least, median, most | best state, untaken "
        "too: median |",
        "|---|---|---|---|---|---|---|---|",
    ]
    keys = sorted({(row["encoder"], row["set"], row["objective"]) for row in rows if row["objective"] != "scratch"})
    for key in keys:
        own = [row for row in rows if (row["encoder"], row["set"], row["objective"]) == key]
        gains = [100 * row["gain"] for row in own]
        best = [100 * (row["adapted"]["knn_top1"] - row["frozen"]["knn_top1"]) for row in own]
        frozen = statistics.median(100 * row["frozen"]["knn_top1"] for row in own)
        taken = sum(row["chosen"] == "adapted" for row in own)
        spread = f"{min(gains):+.1f}, {statistics.median(gains):+.1f}, {max(gains):+.1f}"
        lines.append(
            f"| {' | '.join(key)} | {len(own)} | {frozen:.1f} | {taken} | {spread} | {statistics.median(best):+.1f} |"
        )
    below = [row for row in rows if row["objective"] != "scratch" and row["gain"] < WORST]
    lines.append(f"\n{len(below)} of {len(rows)} runs lost more than half a point on the reported images.")
    for row in below:
        lines.append(
            f"- {row['encoder']}, {row['set']}, {row['objective']}, seed {row['seed']}: {100 * row['gain']:+.2f}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoders", default="")
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--objectives", default="simclr")
    parser.add_argument("--seeds", default="0,1,2,3,4,5,6,7,8,9")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--image_size", type=int, default=None)
    parser.add_argument(
        "--set", action="append", default=[], help="NAME=NUMBER: another setting of adapt, as in its flags"
    )
    parser.add_argument("--scratch", action="store_true", help="train the network of each encoder from scratch too")
    parser.add_argument("--scratch_steps", type=float, default=1.5, help="as a part of those of an adaptation")
    parser.add_argument("--unlabelled", action="store_true", help="choose without labels")
    parser.add_argument("--output", default="adapt.jsonl")
    parser.add_argument("--table", action="store_true")
    parser.add_argument(
        "--certainty", type=float, default=None, help="with --table: as a guard of so many errors had it"
    )
    options = parser.parse_args()
    output = pathlib.Path(options.output)
    rows = [json.loads(line) for line in output.read_text().splitlines()] if output.exists() else []
    if not options.table:
        measured(options, rows, output)
    if options.certainty is not None:
        rows = [rejudged(row, options.certainty) for row in rows]
    print(machine())
    print(table(rows))


def measured(options: argparse.Namespace, rows: list[dict], output: pathlib.Path) -> None:
    """Runs what is not among the rows, and adds it to them and to the file."""
    import tfcontrastive as tfc

    pairs = (one.partition("=") for one in options.set)
    more = {name: int(value) if value.isdigit() else float(value) for name, _, value in pairs}
    known = {row["id"] for row in rows}
    places = dict(one.split("=") for one in options.encoders.split(",")) if options.encoders else {"ours": _trained()}
    for encoder, path in places.items():
        start = tfc.load(path, image_size=options.image_size)
        for name in options.sets.split(","):
            for objective in [*filter(None, options.objectives.split(",")), *(["scratch"] if options.scratch else [])]:
                if objective == "scratch" and start.config is None:  # of an export
                    continue
                with tempfile.TemporaryDirectory() as folder:
                    adaptations = None
                    for seed in map(int, options.seeds.split(",")):
                        key = [encoder, name, objective, seed, options.steps, sorted(more.items()), options.unlabelled]
                        if str(key) in known:
                            continue
                        if objective == "scratch":
                            size = options.image_size or start.image_size or 32
                            found = scratch(
                                name, seed, channels=start.channels, size=size,
                                steps=round(options.steps * options.scratch_steps), encoder=start.config,
                            )  # fmt: skip
                        else:
                            adaptations = adaptations or Adaptations(
                                start, name, folder, size=options.image_size, steps=options.steps, objective=objective,
                                unlabelled=options.unlabelled, **more,
                            )  # fmt: skip
                            found = adaptations.run(seed)
                        row = {"encoder": encoder, "set": name, "objective": objective, "seed": seed, "id": str(key)}
                        rows.append(row | found)
                        with output.open("a") as file:
                            file.write(json.dumps(rows[-1]) + "\n")
                        shown = found.get("gain", found.get("metrics", {}).get("knn_top1"))
                        print(
                            f"{encoder} {name} {objective} seed {seed}: {found.get('chosen', '')} {shown:+.4f}",
                            flush=True,
                        )


def _trained() -> str:
    """An encoder that has learned from the embedded images: SimCLR, four epochs; kept in ./adapt_encoder."""
    from methods import config_of, recipe_words

    from tfcontrastive.runs.pretrain import train

    train(config_of(recipe_words("simclr"), 0, "adapt_encoder"), title="an encoder of the embedded images")
    return "adapt_encoder"


if __name__ == "__main__":
    main()
