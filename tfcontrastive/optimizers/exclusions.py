"""Which weights an optimizer treats differently, by regular expressions on `variable.path`."""

from __future__ import annotations

import re
from collections.abc import Sequence

NORM = r"(^|/)(gamma|beta|log_scale)$"  # log_scale: of a learned temperature
BIAS = r"bias$"
TOKEN = r"(^|/)[^/]*((class|cls|register|mask)_token|pos(ition(al)?)?_embed)[^/]*(/embeddings)?$"  # of a transformer
SUPERVISED_HEAD = r"head_supervised|probe"


def matches(patterns: Sequence[str], variable) -> bool:
    """Whether any of the patterns is found in the variable's path, as in `resnet/batch_norm_3/gamma`.

    Keras' own exclusions look at `variable.name`, which is only `gamma`.
    """
    path = getattr(variable, "path", variable.name)
    return any(re.search(pattern, path) for pattern in patterns)
