"""The networks of keras_hub's preset folders, and what this package wrote into one of its own."""

from __future__ import annotations

import dataclasses
import json
import os

from tfcontrastive.config import InputError
from tfcontrastive.data.preprocessing import PREPROCESSING
from tfcontrastive.pretrained.foundation.beside import read_beside
from tfcontrastive.pretrained.foundation.family import Family, preprocessing_of
from tfcontrastive.pretrained.mapping import Recognised
from tfcontrastive.pretrained.model_folder import CARD
from tfcontrastive.pretrained.torchvision import recognise_torchvision
from tfcontrastive.pretrained.variables import Variables

_RESNET = Family("ResNet, in the layout of keras_hub", "", "imagenet", {})


def recognise_hub_resnet(
    variables: Variables, image_size: int | None = None, ft_proj_selector: int | None = None
) -> Recognised | None:
    """The network of a preset of a ResNet, None where it is another's."""
    if variables.kind != "keras_hub" or "conv1.weight" not in variables.shapes:
        return None
    found = recognise_torchvision(variables, image_size)
    preprocessing, note = preprocessing_of(_RESNET, read_beside(variables.path))
    config = dataclasses.replace(found.config, preprocessing=preprocessing)
    return dataclasses.replace(found, family=_RESNET.name, config=config, notes=(*found.notes, *note))


def with_card(found: Recognised, variables: Variables) -> Recognised:
    """What was recognised, with what the card beside a preset of this package's tells: whose weights these are, and the
    rule for their images by its name.

    Raises:
        InputError: the card is damaged, or names a rule that is not known.
    """
    path = os.path.join(os.path.dirname(variables.path), CARD)
    if variables.kind != "keras_hub" or not os.path.isfile(path):
        return found
    try:
        with open(path, encoding="utf-8") as text:
            card = json.load(text)
        name, facts = card["preprocessing"]["name"], dict(card["imported"] or {})
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{CARD} beside it is not as this package writes it: {error!r}") from error
    if name not in PREPROCESSING:
        raise InputError(f"{CARD} beside it names the preprocessing {name!r}, which is not known")
    notes = [note for note in found.notes if not note.startswith(("licence:", "preprocessing:"))]
    if facts.get("licence"):
        notes.append(f"licence: {facts['licence']}")
    family = facts.pop("family", None) or "keras_hub, written by tfcontrastive"
    config = dataclasses.replace(found.config, preprocessing=name)
    return dataclasses.replace(found, family=family, config=config, notes=tuple(notes), facts=facts)
