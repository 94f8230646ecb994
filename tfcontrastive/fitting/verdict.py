"""What came out, in plain words: against chance, raw pixels and the untrained network, and what to try where it failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tfcontrastive.fitting.measure import Measured

COLLAPSED_RANK = 2.0
_PROBES = {"knn_top1": "kNN", "linear_top1": "linear probe"}
_LONGER = (
    "Give it more --minutes; fine textures want --use_blur=false; or start from trained weights with --checkpoint."
)


def verdict(
    measured: Sequence[Measured],
    chance: Mapping[str, float],
    *,
    unmeasured: str = "There are no labels to measure with.",
    alike: bool = False,
) -> list[str]:
    """Sentences about what the training was worth, the most important first.

    Args:
        measured: every encoder, by name; `trained` among them.
        chance: of `measure.chance`.
        unmeasured: why there is no accuracy, where there is none.
        alike: all images are identical.
    """
    by_name = {one.name: one for one in measured}
    trained, random = by_name["trained"], by_name["random"]
    if alike:
        return ["All images are identical: there is nothing that an encoder could tell apart."]
    said = []
    if trained.metrics["effective_rank"] < COLLAPSED_RANK:
        said.append(
            f"The encoder collapsed: its features fill {trained.metrics['effective_rank']:.1f} of "
            f"{trained.features.train.shape[1]} directions. Try a larger --train_batch_size, a lower --learning_rate, or "
            "--method=barlow_twins, which holds the directions apart."
        )
    measured_by = [probe for probe in _PROBES if probe in trained.metrics]
    if not measured_by:
        return said + _without_labels(trained, random, by_name.get("raw_pixels"), by_name.get("given"), unmeasured)
    said.append(_against(measured_by, trained, random, by_name.get("raw_pixels"), chance))
    behind = [_PROBES[probe] for probe in measured_by if trained.metrics[probe] <= random.metrics[probe]]
    if behind:
        said.append(f"Training did not beat the untrained network by {' and '.join(behind)}.")
    unsure = [
        _PROBES[probe]
        for probe in measured_by
        if trained.metrics[probe] - random.metrics[probe] > 0
        and trained.metrics.get(f"{probe}_low", 1.0) < random.metrics[probe]
    ]
    if unsure:
        said.append(
            f"The lead over the untrained network by {' and '.join(unsure)} may be chance: there are few images."
        )
    if "given" in by_name:
        said.append(_since_the_start(measured_by, trained, by_name["given"]))
    pixels = by_name.get("raw_pixels")
    if pixels is not None:
        below = [_PROBES[probe] for probe in measured_by if trained.metrics[probe] < pixels.metrics[probe]]
        if below:
            said.append(f"By {' and '.join(below)} the pixels themselves are still better.")
            behind += below
    return said + [_LONGER] * bool(behind)


def _against(
    probes: Sequence[str], trained: Measured, random: Measured, pixels: Measured | None, chance: Mapping[str, float]
) -> str:
    """The result on the held-out images against all that it has to beat, in one sentence."""

    def all_of(values: Mapping[str, float]) -> str:
        return " and ".join(f"{values[probe]:.1%}" for probe in probes)

    names = " and ".join(_PROBES[probe] for probe in probes)
    others = [f"{all_of(random.metrics)} of the untrained network"]
    if pixels is not None:
        others.append(f"{all_of(pixels.metrics)} of raw pixels")
    others.append(f"{chance[probes[0]]:.1%} of chance")
    return (
        f"Of the held-out images {all_of(trained.metrics)} are classified correctly by {names} on the features that were "
        f"learned without labels, against {', '.join(others[:-1])} and {others[-1]}."
    )


def _since_the_start(probes: Sequence[str], trained: Measured, given: Measured) -> str:
    """What the training added to the weights that it started from."""
    gains = {probe: trained.metrics[probe] - given.metrics[probe] for probe in probes}
    told = " and ".join(f"{points(gain)} by {_PROBES[probe]}" for probe, gain in gains.items())
    said = f"Training changed what the starting weights are worth by {told}."
    if any(gain <= 0 for gain in gains.values()):
        said += " Use those as they are, or train with a lower --learning_rate."
    return said


def _without_labels(
    trained: Measured, random: Measured, pixels: Measured | None, given: Measured | None, unmeasured: str
) -> list[str]:
    own, before = (one.metrics.get("retrieval_top1") for one in (trained, random))
    if own is None:
        return ["There were too few images to measure anything."]
    parts = [f"{before:.1%} by the untrained network"]
    if pixels is not None:
        parts.append(f"{pixels.metrics['retrieval_top1']:.1%} by raw pixels")
    if given is not None:
        parts.append(f"{given.metrics['retrieval_top1']:.1%} by the starting weights")
    said = [f"{own:.1%} of the images are found by their own augmented view, {', '.join(parts)}. {unmeasured}"]
    if own <= before:
        said.append(f"Training did not beat the untrained network at that. {_LONGER}")
    return said


def points(difference: float) -> str:
    """A difference of two shares, in points.

    Examples:
        >>> points(0.042), points(-0.001)
        ('+4.2 points', '-0.1 points')
    """
    return f"{100 * difference:+.1f} points"
