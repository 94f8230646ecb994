"""Values that a flag holds as text: colours, ranges and shares."""

from __future__ import annotations

from tfcontrastive.config.base import InputError

DEEPEST = 2**16 - 1  # the highest value of a 16-bit pixel


def parse_color(text: str, name: str = "background_color") -> tuple[int, int, int]:
    """A colour as red, green and blue in 0..255.

    Args:
        text: a name of CSS, `#rrggbb` or `rgb(255, 0, 0)`.
        name: of the argument, for the error.

    Examples:
        >>> parse_color("white"), parse_color("#ff0080")
        ((255, 255, 255), (255, 0, 128))
    """
    from PIL import ImageColor  # only where a colour is read: configs are made without it

    try:
        return ImageColor.getrgb(text)[:3]
    except ValueError:
        raise InputError(
            f"`{name}` must be a colour such as white, #808080 or rgb(128,128,128). Received: {name}={text!r}."
        ) from None


def parse_range(text: str, name: str = "intensity_range") -> tuple[int, int]:
    """Two values of 16-bit pixels, the lower one first.

    Examples:
        >>> parse_range("0,4095")
        (0, 4095)
    """
    try:
        low, high = (int(part) for part in text.split(","))
    except ValueError:
        low = high = -1
    if not 0 <= low < high <= DEEPEST:
        raise InputError(
            f"`{name}` must be LOW,HIGH with 0 <= LOW < HIGH <= {DEEPEST}, such as 0,4095. Received: {name}={text!r}."
        )
    return low, high


def parse_area(text: str, name: str = "small_view_area") -> tuple[float, float]:
    """The smallest and the largest part of an image that a crop covers.

    Examples:
        >>> parse_area("0.05,0.14")
        (0.05, 0.14)
    """
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low = high = -1.0
    if not 0 < low <= high <= 1:
        raise InputError(
            f"`{name}` must be LOW,HIGH with 0 < LOW <= HIGH <= 1, such as 0.05,0.14. Received: {name}={text!r}."
        )
    return low, high


def parse_grids(text: str, name: str = "feature_grids") -> tuple[int, int, int, int]:
    """Cells along each side of the four groups' maps, of one group or more.

    Examples:
        >>> parse_grids("4,2,2,1")
        (4, 2, 2, 1)
    """
    try:
        first, second, third, last = (int(part) for part in text.split(","))
    except ValueError:
        first = second = third = last = -1
    if min(first, second, third, last) < 0 or not any((first, second, third, last)):
        raise InputError(
            f"`{name}` must be four numbers of cells, one for each group of blocks, 0 for none, such as 4,2,2,1. "
            f"Received: {name}={text!r}."
        )
    return first, second, third, last


def parse_share(text: str, total: int, name: str = "max_bad_files") -> float:
    """How many of `total` a share (`5%`) or a number (`20`) is.

    Examples:
        >>> parse_share("5%", 60), parse_share("20", 60)
        (3.0, 20.0)
    """
    try:
        percent = text.endswith("%")
        value = float(text.removesuffix("%")) if percent else float(int(text))
    except ValueError:
        percent, value = False, -1.0
    if not 0 <= value <= (100 if percent else float("inf")):
        raise InputError(f"`{name}` must be a share such as 5%, or a number such as 20. Received: {name}={text!r}.")
    return total * value / 100 if percent else value


def parse_log_to(text: str, name: str = "log_to") -> tuple[str, str]:
    """A logger and where it writes: ("mlflow", URI) or ("wandb", project, "" where none is named).

    Examples:
        >>> parse_log_to("mlflow:http://localhost:5000"), parse_log_to("wandb")
        (('mlflow', 'http://localhost:5000'), ('wandb', ''))
    """
    kind, colon, target = text.partition(":")
    if (
        (kind == "mlflow" and not target)
        or (kind == "wandb" and colon and not target)
        or kind not in ("mlflow", "wandb")
    ):
        raise InputError(f"`{name}` must be mlflow:URI, wandb or wandb:PROJECT. Received: {name}={text!r}.")
    return kind, target
