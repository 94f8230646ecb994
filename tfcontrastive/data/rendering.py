"""How the pixels of an image file become 8 bits without transparency."""

from __future__ import annotations

import dataclasses

from tfcontrastive.config.values import parse_color, parse_range


@dataclasses.dataclass(frozen=True)
class Rendering:
    """What `decode` does with transparency and with 16 bits; the same wherever a network sees its images.

    Attributes:
        background_color: what transparent images lie on: a name, `#rrggbb` or `rgb(r,g,b)`.
        intensity_range: `LOW,HIGH`, the values of 16-bit images that become 0 and 255; None keeps their high 8 bits.

    Raises:
        InputError: no colour, or no range.

    Examples:
        >>> Rendering("black", "0,4095").bounds
        (0, 4095)
    """

    background_color: str = "white"
    intensity_range: str | None = None

    def __post_init__(self):
        _ = self.background, self.bounds  # refused here, not in the middle of a graph

    @property
    def background(self) -> tuple[int, int, int]:
        """Red, green and blue in 0..255."""
        return (255, 255, 255) if self.background_color == "white" else parse_color(self.background_color)

    @property
    def bounds(self) -> tuple[int, int] | None:
        """(low, high) in 0..65535."""
        return None if self.intensity_range is None else parse_range(self.intensity_range)


def render_as(background_color: str | None, intensity_range: str | None, default: Rendering | None = None) -> Rendering:
    """The rendering that two settings ask for; None takes the default's."""
    default = default or Rendering()
    return Rendering(
        default.background_color if background_color is None else background_color,
        default.intensity_range if intensity_range is None else intensity_range,
    )
