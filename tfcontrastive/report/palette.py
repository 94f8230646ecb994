"""Colours and marks by which classes and curves are told apart, with or without the colours."""

from __future__ import annotations

COLOURS = 8  # that page.css defines, for light and for dark: --c0 to --c7
MARKS = 7  # no common divisor with the colours: 56 pairs before one comes again


def colour(index: int) -> str:
    """The colour of a series or a class, as CSS."""
    return f"var(--c{index % COLOURS})"


def mark(index: int, radius: float) -> str:
    """The outline of a mark around the current point, as SVG path commands relative to it; all of about the same area.

    Args:
        index: of the series or the class.
        radius: of the circle among them.
    """
    r = radius

    def path(*steps: tuple[float, float]) -> str:
        (x, y), *rest = steps
        return f"m{x:.2f} {y:.2f}l" + " ".join(f"{dx:.2f} {dy:.2f}" for dx, dy in rest) + "z"

    a = 0.42 * r  # half the width of a bar of the plus
    b = 1.25 * r  # and half its length
    c, d = 0.3 * r * 2**0.5, 0.95 * r  # the same of the cross, along the axes
    outlines = (
        f"m{-r:.2f} 0a{r:.2f} {r:.2f} 0 1 0 {2 * r:.2f} 0a{r:.2f} {r:.2f} 0 1 0 {-2 * r:.2f} 0z",
        path((-0.88 * r, -0.88 * r), (1.76 * r, 0), (0, 1.76 * r), (-1.76 * r, 0)),
        path((0, -1.3 * r), (1.18 * r, 2.1 * r), (-2.36 * r, 0)),
        path((0, -1.3 * r), (1.3 * r, 1.3 * r), (-1.3 * r, 1.3 * r), (-1.3 * r, -1.3 * r)),
        path((-a, -b), (2 * a, 0), (0, b - a), (b - a, 0), (0, 2 * a), (a - b, 0), (0, b - a), (-2 * a, 0), (0, a - b),
             (a - b, 0), (0, -2 * a), (b - a, 0)),
        path((0, 1.3 * r), (1.18 * r, -2.1 * r), (-2.36 * r, 0)),
        path((0, -c), (d, -d), (c, c), (-d, d), (d, d), (-c, c), (-d, -d), (-d, d), (-c, -c), (d, -d), (-d, -d),
             (c, -c)),
    )  # fmt: skip
    return outlines[index % MARKS]
