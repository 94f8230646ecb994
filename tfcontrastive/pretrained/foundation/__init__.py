"""Foundation encoders: vision transformers, and ConvNeXts, that others have published, one file a family."""

from __future__ import annotations

from tfcontrastive.pretrained.foundation.beside import read_beside
from tfcontrastive.pretrained.foundation.clip import recognise_clip
from tfcontrastive.pretrained.foundation.dino import recognise_dino
from tfcontrastive.pretrained.foundation.dinov2 import recognise_dinov2
from tfcontrastive.pretrained.foundation.dinov3 import recognise_dinov3
from tfcontrastive.pretrained.foundation.dinov3_convnext import recognise_dinov3_convnext
from tfcontrastive.pretrained.foundation.family import made
from tfcontrastive.pretrained.foundation.siglip import recognise_siglip
from tfcontrastive.pretrained.mapping import Recognised
from tfcontrastive.pretrained.variables import Variables

FAMILIES = (recognise_dinov2, recognise_dinov3, recognise_clip, recognise_siglip, recognise_dino)
"""Each tells its own files; the first that does is right."""


def recognise_foundation(
    variables: Variables, image_size: int | None = None, ft_proj_selector: int | None = None
) -> Recognised | None:
    """The network of a file of one of the families, None where it is another's."""
    if not variables.is_torch:
        return None
    beside = read_beside(variables.path)
    convnext = recognise_dinov3_convnext(variables, beside, image_size)
    if convnext is not None:
        return convnext
    for family in FAMILIES:
        found = family(variables, beside)
        if found is not None:
            return made(found, variables, image_size)
    return None
