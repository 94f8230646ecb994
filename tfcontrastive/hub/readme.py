"""README.md of an uploaded model, as Hugging Face reads it: front matter with the licence, then text for people."""

from __future__ import annotations

import json
from typing import Any

from tfcontrastive.hub.licence import Licence

_HEAD = """---
{licence}library_name: keras-hub
pipeline_tag: image-feature-extraction
tags:
- image-feature-extraction
- keras-hub
---
"""
_OF_LICENCE = ("license:", "license_name:", "license_link:")


def readme(kind: str, card: dict[str, Any], present: str, licence: Licence) -> str:
    """The text.

    Args:
        kind: "saved_model", whose README is there and is given its licence; or "keras_hub", for which it is written.
        card: of the model.
        present: the README in the folder, "" where there is none.
        licence: of the weights.
    """
    terms = f"Licence of the weights: {licence.text}.\n"
    if not present.startswith("---\n"):
        made = _of_preset(card) if kind == "keras_hub" else f"# {card.get('name', 'encoder')}\n\n{present}"
        return _HEAD.format(licence=licence.front_matter) + _with_terms(made, terms)
    head, _, body = present.removeprefix("---\n").partition("\n---\n")
    lines = [line for line in head.splitlines() if not line.startswith(_OF_LICENCE)]
    return "---\n" + licence.front_matter + "\n".join(lines) + "\n---\n" + _with_terms(body, terms)


def _with_terms(body: str, terms: str) -> str:
    """The text with the licence after its title."""
    if terms in body:
        return body
    title, newline, rest = body.lstrip("\n").partition("\n")
    return f"\n{title}\n\n{terms}{newline}{rest.lstrip(newline)}"


def _of_preset(card: dict[str, Any]) -> str:
    rule, source = card["preprocessing"].get("rule", {}), card.get("imported") or {}
    rows = "".join(f"- {name}: {source[name]}\n" for name in ("family", "licence", "feature") if source.get(name))
    origin = f"\n## Source\n\n{rows}" if rows else ""
    return f"""# {card.get("name", "encoder")}

An image encoder: images in, vectors of {card.get("embedding_dim")} numbers out ({card.get("parameters", 0):,} parameters).
{origin}
## Use

```python
import keras_hub

backbone = keras_hub.models.Backbone.from_preset(path)
converter = keras_hub.layers.ImageConverter.from_preset(path)
features = backbone(converter(images))  # images: pixels from 0 to 255
```

The feature is the class token, where there is one, else the mean over the positions.
With tfcontrastive: `tfcontrastive.load("hf://user/name")`, for images in [0, 1].

## Preprocessing

`(pixels - mean) / std`, of pixels in [0, 1], after the central square of {rule.get("crop", 1.0):g} of the shorter side
({rule.get("resize", "bilinear")}):

```json
{json.dumps({name: rule.get(name) for name in ("mean", "std")})}
```
"""
