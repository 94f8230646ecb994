"""Runs that are killed at random moments and started again must end as if nothing had happened, bit for bit.

    python benchmarks/kill_soak.py [--kills=100] [--minutes=25] [--signal=KILL] [--seed=0] [--jobs=2] [--workdir=DIR]

`tfcontrastive train`, with tiny networks on the embedded images, over SimCLR, MoCo, ReLIC with a target, instance
discrimination, two replicas and micro batches, each with its export. A moment is drawn first by its phase (starting: import
and build; compiling: from the claim of the directory to the first checkpoint; training; writing of a checkpoint; export),
then at random inside of it, so that every phase is met however short it is. Killed runs are started again with the same
command until they end. Then the last checkpoint, the exported weights and the metrics of every epoch, times apart, must be
those of a run that nobody killed, and nothing half-written may be left. `--signal=TERM` ends runs as schedulers do.

Prints a table, and the seed with which the same moments are drawn again; exits with 1 on any difference.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

COMMON = {
    "dataset": "embedded",
    "train_split": "train[:64]",
    "eval_split": "test[:64]",
    "image_size": 28,
    "resnet_depth": 18,
    "width_multiplier": 0.125,
    "train_batch_size": 16,
    "train_steps": 10,  # two epochs and a half
    "warmup_epochs": 1,
    "checkpoint_steps": 1,
    "knn_epochs": 1,
    "mixed_precision": "float32",
    "seed": 7,
}
RUNS = {
    "simclr": {"proj_out_dim": 16},
    "moco": {"method": "moco", "queue_size": 48, "proj_out_dim": 16, "checkpoint_steps": 2},
    "relic_t": {"method": "relic", "use_target": True, "proj_out_dim": 16, "critic_hidden_dim": 16},
    "instdisc": {"method": "instdisc", "proj_out_dim": 16, "num_negatives": 0, "bank_size": 64, "checkpoint_steps": 2},
    "two replicas": {"num_virtual_replicas": 2, "proj_out_dim": 16},
    "micro batches": {"micro_batch_size": 8, "norm": "group", "proj_out_dim": 16},
}
PHASES = ("starting", "compiling", "training", "writing", "export")
TIMES = ("seconds", "images_per_second")
LIMIT = 300.0  # seconds that one process may take


class Run:
    """One run's directory and the command that makes and resumes it."""

    def __init__(self, name: str, path: pathlib.Path):
        self.name, self.path = name, path
        self.log = path.with_suffix(".log")

    def start(self) -> subprocess.Popen:
        flags = {**COMMON, **RUNS[self.name], "model_dir": self.path}
        command = [sys.executable, "-m", "tfcontrastive.commands.main", "train"]
        self.started, self.checkpoints = time.time(), self.saved()
        with open(self.log, "a") as log:
            return subprocess.Popen([*command, *(f"--{k}={v}" for k, v in flags.items())], stdout=log, stderr=log)

    def saved(self) -> set[str]:
        return {path.name for path in self.path.glob("checkpoints/*.index")}

    def has_begun(self, phase: str) -> bool:
        """Whether this process is in a phase or past its begin."""
        if phase == "starting":
            return True
        if phase == "compiling":
            config = self.path / "config.json"
            return config.exists() and config.stat().st_mtime > self.started
        if phase == "training":
            return bool(self.saved() - self.checkpoints)
        if phase == "writing":
            return any(self.path.glob("checkpoints/*_temp"))
        return any(self.path.glob("saved_model/.*.tmp"))

    def wait_for(self, phase: str, process: subprocess.Popen) -> None:
        """Returns when a phase begins, or the process has ended."""
        while process.poll() is None and not self.has_begun(phase):
            if time.time() - self.started > LIMIT:
                process.kill()
                sys.exit(f"{self.name}: no end after {LIMIT:g} s, see {self.log}")
            time.sleep(0.0005)


def undisturbed(run: Run) -> dict[str, float]:
    """Runs to the end; the seconds that each phase takes."""
    process, begins = run.start(), {}
    for phase in ("compiling", "training", "export"):
        run.wait_for(phase, process)
        begins[phase] = time.time() - run.started
    if process.wait(LIMIT):
        sys.exit(f"{run.name}: an undisturbed run failed, see {run.log}")
    end = time.time() - run.started
    return {
        "starting": begins["compiling"],
        "compiling": begins["training"] - begins["compiling"],
        "training": begins["export"] - begins["training"],
        "writing": 0.01,  # less than it takes, from when its first file is seen
        "export": end - begins["export"],
    }


def kill(run: Run, phase: str, lengths: dict[str, float], number: int, rng: random.Random) -> str | None:
    """Starts a run and kills it in a phase; returns what is wrong with its end, if anything is."""
    process = run.start()
    run.wait_for(phase, process)
    if process.poll() is None:
        time.sleep(rng.random() * lengths[phase])
    process.send_signal(number)
    code = process.wait(LIMIT)
    expected = {0, -number} | ({128 + number} if number != signal.SIGKILL else set())
    return None if code in expected else f"exit code {code}, the end of its log:\n{run.log.read_text()[-3000:]}"


def arrays(path: str) -> dict:
    """Every array of a TensorFlow checkpoint."""
    import tensorflow as tf

    reader = tf.train.load_checkpoint(path)
    names = [name for name in reader.get_variable_to_shape_map() if "save_counter" not in name]
    return {name: reader.get_tensor(name) for name in names if "OBJECT_GRAPH" not in name}


def content(run: Run) -> dict:
    """What must be the same in two runs: arrays of the last checkpoint and of the export, and the epochs' metrics."""
    found = arrays(str(run.path / "checkpoints" / f"step-{COMMON['train_steps']}"))
    (version,) = (path for path in (run.path / "saved_model").iterdir())
    found |= {f"export/{name}": value for name, value in arrays(str(version / "variables" / "variables")).items()}
    for line in (run.path / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        found |= {f"epoch {record['epoch']}/{name}": value for name, value in record.items() if name not in TIMES}
    return found


def differences(run: Run, reference: Run) -> list[str]:
    """The names of what differs, and of what was left half-written."""
    left = [str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.name.endswith((".tmp", "_temp"))]
    if left:
        return left
    one, two = content(run), content(reference)
    same = {name for name in one.keys() & two.keys() if _same(one[name], two[name])}
    return sorted((one.keys() | two.keys()) - same)


def _same(one, two) -> bool:
    import numpy as np

    one, two = np.asarray(one), np.asarray(two)
    return one.dtype == two.dtype and one.shape == two.shape and one.tobytes() == two.tobytes()


def live(run: Run, kills: int, lengths: dict[str, float], options: argparse.Namespace, end: float) -> tuple[list, list]:
    """One run's life: killed so many times, or until the time is up, then run to its end.

    Returns:
        the phases of the kills, and what went wrong, its end excepted.
    """
    rng, phases = random.Random(f"{options.seed} {run.path.name}"), []
    number = getattr(signal, f"SIG{options.signal}")
    while len(phases) < kills and time.monotonic() < end:
        phases.append(rng.choice(PHASES))
        fault = kill(run, phases[-1], lengths, number, rng)
        print(f"{run.path.name:18s} {phases[-1]:10s} {fault or ''}", file=sys.stderr, flush=True)
        if fault:
            return phases, [fault]
    code = run.start().wait(LIMIT)
    return phases, [f"exit code {code}"] if code else []


def soak(options: argparse.Namespace, workdir: pathlib.Path) -> int:
    names, rng, end = options.runs or list(RUNS), random.Random(options.seed), time.monotonic() + 60 * options.minutes
    lives, planned = [], 0
    while planned < options.kills:
        name = names[len(lives) % len(names)]
        count = min(rng.randint(4, 10), options.kills - planned)
        lives.append((Run(name, workdir / f"{name.replace(' ', '_')}_{len(lives)}"), count))
        planned += count
    names = names[: len(lives)]
    references = {name: Run(name, workdir / f"{name.replace(' ', '_')}_straight") for name in names}
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        lengths = dict(zip(names, pool.map(undisturbed, references.values()), strict=True))
        ends = list(pool.map(lambda pair: live(*pair, lengths[pair[0].name], options, end), lives))

    kills, wrong = collections.Counter(), collections.defaultdict(list)
    for (run, _), (phases, faults) in zip(lives, ends, strict=True):
        kills.update((run.name, phase) for phase in phases)
        found = faults or differences(run, references[run.name])
        wrong[run.name] += [f"{run.path.name}: {fault}" for fault in found[:10]]
    print(f"{'run':14s}" + "".join(f"{phase:>11s}" for phase in PHASES) + f"{'ended':>8s}{'differ':>8s}")
    for name in names:
        counts = "".join(f"{kills[name, phase]:11d}" for phase in PHASES)
        print(f"{name:14s}{counts}{sum(run.name == name for run, _ in lives):8d}{len(wrong[name]):8d}")
    print(f"{kills.total()} of {options.kills} kills by SIG{options.signal}, seed {options.seed}")
    for fault in (fault for name in names for fault in wrong[name]):
        print(f"DIFFERENT: {fault}")
    return 1 if any(wrong.values()) or kills.total() < options.kills else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=25.0, help="nothing is killed after these; fewer kills fail")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--signal", default="KILL", choices=["KILL", "TERM"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", nargs="+", choices=list(RUNS))
    parser.add_argument("--workdir", help="kept afterwards, with a log of each run; default: a temporary one")
    options = parser.parse_args()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    if options.workdir:
        pathlib.Path(options.workdir).mkdir(parents=True, exist_ok=True)
        return soak(options, pathlib.Path(options.workdir).resolve())
    with tempfile.TemporaryDirectory() as folder:
        return soak(options, pathlib.Path(folder))


if __name__ == "__main__":
    sys.exit(main())
