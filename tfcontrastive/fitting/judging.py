"""Which encoder is handed over: the adapted one where held-out images say that it is better, else the one that was given."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from tfcontrastive.callbacks.keep_best import gain
from tfcontrastive.fitting.measure import Measured
from tfcontrastive.fitting.verdict import points

_PROBES = {"knn_top1": "kNN", "linear_top1": "linear probe", "retrieval_top1": "own view found"}


@dataclasses.dataclass(frozen=True)
class Judgement:
    """What was chosen and why.

    Attributes:
        chosen: adapted or frozen.
        reason: in a sentence.
        facts: the numbers behind it, for metrics.json.
    """

    chosen: str
    reason: str
    facts: dict[str, Any]


def judge(
    best: Mapping[str, Any] | None,
    *,
    probe: str,
    margin: float,
    certainty: float,
    linear: tuple[Any, Any] | None = None,
    state: str = "best state on the way",
    names: tuple[str, str] = ("adapted", "frozen"),
) -> Judgement:
    """Takes the adapted encoder where its gain on the images that choose is beyond chance and the margin.

    Args:
        best: the measurement of the best state, as `KeepBest.best`; None: none counted.
        probe: the metric that chose.
        margin: that the gain less `certainty` standard errors must exceed.
        certainty: standard errors.
        linear: scores by a linear probe of the same images, of that state and of the encoder as it was: a state that lost
            more than the margin by these is not taken.
        state: which state that is, in words.
        names: of the encoder in that state and as it was, of which one is `chosen`.

    Examples:
        >>> best = {"step": 10, "gain": 0.03, "error": 0.01, "worth": 0.0136, "metrics": {"knn_top1": 0.83}}
        >>> judge(best, probe="knn_top1", margin=0.005, certainty=1.64).chosen
        'adapted'
    """
    new, old = names
    if best is None:
        reason = f"no {state.removeprefix('best ')} kept the ranks of its features: the encoder is returned as it was"
        return Judgement(old, reason, {"chosen": old, "reason": reason})
    name, least = _PROBES[probe], best["gain"] - certainty * best["error"]
    size = f"{points(best['gain'])} ± {100 * best['error']:.1f}"
    shown = f"{size} by {name} on the images that choose, at step {best['step']:,}"
    facts = {name: best[name] for name in ("step", "gain", "error")} | {"margin": margin, "certainty": certainty}
    if least <= margin:
        reason = (
            f"the {state}, {shown}, is not surely {100 * margin:g} points better: the encoder is returned as it was"
        )
        return Judgement(old, reason, {"chosen": old, "reason": reason, **facts})
    if linear is not None:
        mean, error = gain(*linear)
        facts |= {"linear_gain": mean, "linear_error": error}
        if mean < -margin:
            reason = (
                f"the {state}, {shown}, lost {points(mean)} ± {100 * error:.1f} by a linear probe: the encoder is "
                "returned as it was"
            )
            return Judgement(old, reason, {"chosen": old, "reason": reason, **facts})
    reason = f"the {new} encoder is taken: {shown}"
    return Judgement(new, reason, {"chosen": new, "reason": reason, **facts})


def verdict(judgement: Judgement, measured: Sequence[Measured]) -> list[str]:
    """What came out, in sentences; the reported images did not choose.

    Args:
        judgement: what was chosen.
        measured: every encoder, `frozen` and `adapted` among them.
    """
    by_name = {one.name: one.metrics for one in measured}
    frozen, adapted = by_name["frozen"], by_name["adapted"]
    said = [judgement.reason[:1].upper() + judgement.reason[1:] + "."]
    probes = [probe for probe in _PROBES if probe in frozen and probe in adapted]
    if "knn_top1" in probes:
        probes.remove("retrieval_top1") if "retrieval_top1" in probes else None
    values = [f"{adapted[probe]:.1%} against {frozen[probe]:.1%} by {_PROBES[probe]}" for probe in probes]
    if values:
        state = "adapted encoder" if judgement.chosen == "adapted" else "best adapted state, which was not taken,"
        said.append(
            f"On the reported images, which neither taught nor chose, the {state} reaches {' and '.join(values)} as it was."
        )
    if probes == ["retrieval_top1"]:
        said.append(
            "There are no labels: that an image is found by its own view is what the training asks for, and no proof that "
            "the encoder tells more apart. A few labels, in --labels=labels.csv, would be."
        )
    below = [
        _PROBES[probe] for probe in probes if judgement.chosen == "adapted" and adapted[probe] < frozen[probe] - 0.005
    ]
    if below:
        said.append(f"By {' and '.join(below)} it is behind on these: take --margin higher, or the encoder as it was.")
    return said
