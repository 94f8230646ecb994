"""Run by each worker of `test_workers`: `tfcontrastive train`, and what the worker's own model ended with.

    python -m tests.workers.command OUT.npz train --method=simclr ...

Only the chief writes a run's files, so the other workers' variables can be seen from inside alone.
"""

import sys

import numpy as np

import tfcontrastive.runs.pretrain
from tests.methods.cases import weights
from tfcontrastive.commands.main import main


def run(argv: list[str]) -> dict[str, np.ndarray]:
    """Every variable of the model and its optimizer at the end of the command."""
    results, train = [], tfcontrastive.runs.pretrain.train

    def kept(*args, **options):
        results.append(train(*args, **options))
        return results[-1]

    tfcontrastive.runs.pretrain.train = kept
    try:
        code = main(argv)
    finally:
        tfcontrastive.runs.pretrain.train = train
    if code:
        sys.exit(code)
    return weights(results[0].model)


if __name__ == "__main__":
    np.savez(sys.argv[1], **run(sys.argv[2:]))
