"""Run by each worker of `test_workers`: trains methods under the cluster of TF_CONFIG and writes what they learned."""

import sys

import numpy as np

from tests.methods.cases import batches, fit, make_model, weights
from tfcontrastive import distribute

CASES = ("simclr", "moco", "relic")
STEPS = 4


def learn(case: str) -> dict[str, np.ndarray]:
    """The losses and every variable after a few steps."""
    model = make_model(case)
    return {"losses": np.array(fit(model, batches(STEPS))), **weights(model)}


def main(path: str) -> None:
    strategy = distribute.make_strategy("multi_worker", cluster_timeout=120)
    found = {}
    for case in CASES:
        with strategy.scope():
            found.update({f"{case}/{name}": value for name, value in learn(case).items()})
    np.savez(path, **found)


if __name__ == "__main__":
    main(sys.argv[1])
