"""What each method learns from the embedded images in about a minute: the README's table of methods.

    python benchmarks/methods.py                                  # every method, three seeds: about 40 minutes of 2 cores
    python benchmarks/methods.py --methods=byol,moco_v2 --seeds=0
    python benchmarks/methods.py --table                          # only print what was measured so far
    python benchmarks/methods.py --methods=simclr --flags=--zero_init_residual=true    # the recipe, with other flags
    taskset -c 0 python benchmarks/methods.py --cpu_seconds=25    # the same processor time for every method

Trains the recipe `embedded_NAME` of each method for four epochs and measures the encoder of the final one on the
2,000 test images (settings are chosen with --flags="--train_split=train[:80%] --eval_split=train[80%:]"), beside the
same network untrained (with the data's batch-norm statistics, and whitened where that is). A line of JSON is appended
to --output after each run, and what stands there is not run again; a recipe that has changed since is.

With --cpu_seconds=N the number of steps is what fits into N seconds of the processor, at the rate of some steps of a
throwaway model; tracing and compiling are not counted, and all seeds of a method take the steps of its first one. All that
a recipe counts in epochs or steps (warm-up, frozen prototypes, time between clusterings) keeps its share of the run.

Each row passes if kNN beats the random encoder by 3 points in every seed and, for the methods without negatives, if the
features' effective rank stays above the floor, that is, if they did not collapse. Times are told and judged by nobody.
"""

import argparse
import json
import pathlib
import statistics
import tempfile
import time
import zlib

from machine import machine

METHODS = ("simclr", "simclr_v2", "moco_v1", "moco_v2", "moco_v3", "relic", "relic_t", "byol", "supcon", "barlow_twins",
           "local_aggregation", "dim", "amdim", "cpc", "deepcluster_v2", "relic_v2",
           "instdisc", "dcl", "simsiam", "vicreg", "nnclr", "swav", "dino", "emp_ssl",
           "rotation", "jigsaw", "pirl",
           "infomin")  # fmt: skip
WITHOUT_NEGATIVES = ("byol", "barlow_twins", "simsiam", "vicreg", "swav", "dino", "emp_ssl", "rotation", "jigsaw")
EPOCHS = 4  # of every recipe, and of `embedded_simclr`, which goes on to ten in the demo
GAIN, RANK_FLOOR = 0.03, 4.0


_untrained: dict = {}  # kNN of untrained networks, by what they are
LENGTHS = ("--freeze_prototypes_steps", "--clustering_steps", "--instance_steps", "--teacher_temperature_steps")
RECIPE_STEPS = round(EPOCHS * 10_000 / 128)


def recipe_words(name: str, more: tuple[str, ...] = ()) -> list[str]:
    """The flags of a recipe, without its comments, for as many epochs as the others, and more flags."""
    from tfcontrastive import flags

    return [*flags.expand([f"--recipe=embedded_{name}"]), f"--train_epochs={EPOCHS}", *more]


def fingerprint(name: str, more: tuple[str, ...] = ()) -> int:
    return zlib.crc32("\n".join(recipe_words(name, more)).encode())


def of_length(words: list[str], steps: int) -> list[str]:
    """The flags of a recipe for another number of steps, each length in them with the share that it has of the recipe."""
    share = steps / RECIPE_STEPS
    scaled = []
    for word in words:
        key, _, value = word.partition("=")
        if key == "--warmup_epochs":
            word = f"{key}={float(value) * share:g}"
        elif key in LENGTHS and int(value):  # 0 is none
            word = f"{key}={max(1, round(int(value) * share))}"
        if key != "--train_epochs":
            scaled.append(word)
    return [*scaled, f"--train_steps={steps}"]


def config_of(words: list[str], seed: int, model_dir: str):
    """The recipe's config, as `tfcontrastive train` reads it."""
    from absl import flags as absl_flags

    from tfcontrastive import flags
    from tfcontrastive.config import TrainConfig
    from tfcontrastive.methods import method_class

    argv = [*words, f"--seed={seed}", f"--model_dir={model_dir}", "--knn_epochs=0"]
    method = flags.peek(argv, "method", "simclr")
    base = TrainConfig(method=method, method_config=method_class(method).Config())
    values = absl_flags.FlagValues()
    flags.define(base, values)
    flags.parse(argv, values)
    return flags.from_flags(base, values)


def clock(at_most: float = float("inf")):
    """A callback that counts steps after the first, which compiles, and their processor time, and stops when it is up."""
    import keras

    class Clock(keras.callbacks.Callback):
        begun, seconds, steps = None, 0.0, 0

        def on_train_batch_end(self, batch, logs=None):
            if self.begun is None:
                self.begun = time.process_time()
                return
            self.steps += 1
            self.seconds = time.process_time() - self.begun
            if self.seconds >= at_most:
                self.model.stop_training = True

    return Clock()


def steps_in(words: list[str], seed: int, cpu_seconds: float) -> int:
    """How many steps of a recipe fit into a time of the processor, by at most 40 of a model that is thrown away."""
    import keras

    from tfcontrastive.runs.pretrain import pretraining

    with tempfile.TemporaryDirectory() as directory:
        prepared = pretraining(config_of(words, seed, directory)).prepare()
        timed = clock(at_most=2.5)
        prepared.model.fit(prepared.batches(0).take(41), verbose=0, shuffle=False, callbacks=[timed])
    keras.backend.clear_session()
    return round(cpu_seconds * timed.steps / timed.seconds)


def run(name: str, seed: int, more: tuple[str, ...], cpu_seconds: float | None, steps: int | None) -> dict:
    """Trains one recipe with one seed and measures it.

    Args:
        name, seed, more: which.
        cpu_seconds: of training; None: as many epochs as the recipe.
        steps: that fit into that time, where they are known.
    """
    import keras

    from tfcontrastive.evaluate import settle_statistics, settle_whitening
    from tfcontrastive.fitting.measure import Measure
    from tfcontrastive.fitting.stages import fresh_encoder
    from tfcontrastive.runs.inputs import eval_split
    from tfcontrastive.runs.pretrain import batches, train

    keras.backend.clear_session()
    words = recipe_words(name, more)
    if cpu_seconds is not None:
        steps = steps or steps_in(words, seed, cpu_seconds)
        words = of_length(words, steps)
    with tempfile.TemporaryDirectory() as directory:
        config = config_of(words, seed, directory)
        timed, whole = clock(), time.process_time()
        result = train(config, title=f"{name} seed {seed}", callbacks=[timed])
        whole = time.process_time() - whole
        measure = Measure(result.config, result.source, eval_split(result.config, result.source))
        trained = measure("trained", result.model.encoder, result.seconds)
        same = (seed, repr(result.config.encoder), repr(result.model.policy.geometries), type(result.model).network_of)
        if same not in _untrained:  # most methods start from the same network
            random = fresh_encoder(result.config, result.source)
            some = batches(result.config, result.model, result.source, 0).take(20)
            settle_statistics(random, (batch["views"][0] for batch in some))
            settle_whitening(random, measure.batches(measure.train_split))
            _untrained[same] = measure("random", random).metrics["knn_top1"]
    return {
        "method": name,
        "seed": seed,
        "recipe": fingerprint(name, more),
        "flags": list(more),
        "asked_cpu_seconds": cpu_seconds,
        "machine": machine(),
        "precision": result.config.loop.mixed_precision,
        "steps": result.plan.steps,
        "random_knn_top1": _untrained[same],
        "knn_top1": trained.metrics["knn_top1"],
        "linear_top1": trained.metrics["linear_top1"],
        "effective_rank": result.metrics["effective_rank"],
        "seconds": result.seconds,
        "step_cpu_seconds": timed.seconds,
        "cpu_seconds": whole,
    }


def read(output: pathlib.Path, more: tuple[str, ...], cpu_seconds: float | None) -> dict[tuple[str, int], dict]:
    """What was measured with the recipes as they are now, these flags and this length: {(method, seed): record}."""
    lines = output.read_text(encoding="utf-8").splitlines() if output.exists() else []
    records = [json.loads(line) for line in lines if line.strip()]
    now = {name: fingerprint(name, more) for name in METHODS}
    return {
        (one["method"], one["seed"]): one
        for one in records
        if one["recipe"] == now.get(one["method"]) and one.get("asked_cpu_seconds", "older") == cpu_seconds
    }


def verdict(name: str, records: list[dict]) -> str:
    """Pass, or what failed."""
    gain = min(one["knn_top1"] - one["random_knn_top1"] for one in records)
    rank = min(one["effective_rank"] for one in records)
    failures = [f"gains {100 * gain:.1f} points at least"] if gain < GAIN else []
    if name in WITHOUT_NEGATIVES and rank < RANK_FLOOR:
        failures.append(f"rank {rank:.1f} < {RANK_FLOOR:g}")
    return "FAIL: " + ", ".join(failures) if failures else "pass"


def row(name: str, records: list[dict]) -> str:
    """A line of the Markdown table."""

    def column(key: str, scale: float = 100.0) -> str:
        values = [scale * one[key] for one in records]
        spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
        return f"{statistics.mean(values):.1f}{spread}"

    gain = statistics.mean(100 * (one["knn_top1"] - one["random_knn_top1"]) for one in records)
    return (
        f"| {name} | {column('random_knn_top1')} | **{column('knn_top1')}** | +{gain:.1f} | {column('linear_top1')} "
        f"| {column('effective_rank', 1.0)} | {statistics.mean(one['steps'] for one in records):.0f} "
        f"| {statistics.mean(one['step_cpu_seconds'] for one in records):.0f} | {len(records)} | {verdict(name, records)} |"
    )


def table(measured: dict[tuple[str, int], dict], names: list[str]) -> str:
    lines = [
        "| `embedded_...` | kNN top-1, random | kNN top-1 | gain | linear top-1 | rank | steps | CPU s | seeds | |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name in names:
        records = [record for (method, _), record in sorted(measured.items()) if method == name]
        if records:
            lines.append(row(name, records))
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default=",".join(METHODS), help="names of recipes, without `embedded_`")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--flags", default="", help="more flags of `tfcontrastive train`, with spaces between them")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("methods.jsonl"))
    parser.add_argument(
        "--cpu_seconds", type=float, help="of training, the same for every method; default: four epochs"
    )
    parser.add_argument("--table", action="store_true", help="train nothing")
    options = parser.parse_args()
    print(machine())
    names, seeds = options.methods.split(","), [int(seed) for seed in options.seeds.split(",")]
    more = tuple(options.flags.split())
    unknown = set(names) - set(METHODS)
    if unknown:
        parser.error(f"--methods must be of {', '.join(METHODS)}. Received: {', '.join(sorted(unknown))}.")
    length = options.cpu_seconds
    for name, seed in [] if options.table else [(name, seed) for seed in seeds for name in names]:
        done = read(options.output, more, length)
        if (name, seed) not in done:
            steps = (
                next((one["steps"] for (method, _), one in done.items() if method == name), None) if length else None
            )
            record = run(name, seed, more, length, steps)
            with open(options.output, "a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
    print(table(read(options.output, more, length), names))


if __name__ == "__main__":
    main()
