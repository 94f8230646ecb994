"""The named augmentation policies: tables of numbers, not code."""

from __future__ import annotations

import dataclasses

from tfcontrastive.augment import ops
from tfcontrastive.augment.jitter import FORMS
from tfcontrastive.augment.more_views import with_views
from tfcontrastive.augment.rand_augment import RandAugment
from tfcontrastive.augment.view import View
from tfcontrastive.augment.view_geometry import Geometry
from tfcontrastive.config import AugmentConfig, InputError, unknown
from tfcontrastive.config.values import parse_area


@dataclasses.dataclass(frozen=True)
class Policy:
    """How the views of an image are made.

    Args:
        name: the name it was asked for by.
        geometry: crop and flip of the views that have none of their own; done by the input pipeline.
        views: what follows, one per view; the large ones first, where they are of several sizes.
        image_size: the size of images, in pixels, that its views are told for; None: any.
    """

    name: str
    geometry: Geometry
    views: tuple[View, ...]
    image_size: int | None = None

    @property
    def geometries(self) -> tuple[Geometry, ...]:
        """Crop and flip of each view."""
        return tuple(view.geometry or self.geometry for view in self.views)

    def sides(self, image_size: int) -> tuple[int, ...]:
        """Height and width of each view in pixels.

        Raises:
            InputError: images of another size than the policy is for, or small views that are none.
        """
        if self.image_size not in (None, image_size):
            raise InputError(
                f"`image_size` must be {self.image_size} with augmentation={self.name}. Received: image_size={image_size}."
            )
        for geometry in self.geometries:
            if geometry.side is not None and geometry.side >= image_size:
                raise InputError(
                    f"`small_view_size` must be below image_size, {image_size}. Received: small_view_size={geometry.side}."
                )
        return tuple(geometry.pixels(image_size) for geometry in self.geometries)


_WIDE = Geometry()
_NARROW = Geometry(min_area=0.2)  # of the MoCo family, following instance discrimination

_STRONG = ops.ColorRange(0.8, 0.8, 0.8, 0.2)
_MEDIUM = ops.ColorRange(0.4, 0.4, 0.4, 0.1)
_MILD = ops.ColorRange(0.4, 0.4, 0.2, 0.1)

_SIMCLR = View(_STRONG, gray_probability=0.2, blur_probability=0.5)
_MOCO_V1 = View(ops.ColorRange(0.4, 0.4, 0.4, 0.4), jitter_probability=1.0, gray_probability=0.2, gray_first=True)
_MOCO_V2 = View(_MEDIUM, gray_probability=0.2, blur_probability=0.5)
_FIRST = View(_MILD, gray_probability=0.2, blur_probability=1.0)
_SECOND = View(_MILD, gray_probability=0.2, blur_probability=0.1, solarize_probability=0.2)


def _adding(view: View) -> View:
    return dataclasses.replace(view, additive_brightness=True)


def _small(view: View, count: int, area: tuple[float, float], size: float) -> tuple[View, ...]:
    return (dataclasses.replace(view, geometry=Geometry(*area, size=size)),) * count


# Sources: SimCLR 2002.05709 (v1 and v2 as in google-research/simclr), MoCo 1911.05722, MoCo v2 2003.04297, MoCo v3
# 2104.02057, BYOL 2006.07733 (table 6; brightness as in its code), ReLIC 2010.07922 (BYOL's), Barlow Twins 2103.03230,
# SupCon 2004.11362 (its small-image code), instance discrimination 1805.01978, SwAV 2006.09882 (multicrop_), DINO 2104.14294
# (the defaults of its code), jigsaw 1603.09246 (as in VISSL, which crops 255 of the 256 pixels of the shorter side).
# InfoMin 2005.10243 (as in PyContrast; MoCo adds the view that is cut; gray comes with the jitter, there after RandAugment).
# embedded_2x28_4x14 is this project's, for images of 28 pixels.
POLICIES = {
    "simclr": (_WIDE, (_SIMCLR, _SIMCLR)),
    "simclr_v1": (_WIDE, (_adding(_SIMCLR), _adding(_SIMCLR))),
    "moco_v1": (_NARROW, (_MOCO_V1, _MOCO_V1)),
    "moco_v2": (_NARROW, (_MOCO_V2, _MOCO_V2)),
    "moco_v3": (_WIDE, (_FIRST, _SECOND)),
    "byol": (_WIDE, (_adding(_FIRST), _adding(_SECOND))),
    "relic": (_WIDE, (_adding(_FIRST), _adding(_SECOND))),
    "barlow_twins": (_WIDE, (_FIRST, _SECOND)),
    "supcon": (_NARROW, (View(_MEDIUM, gray_probability=0.2),) * 2),
    "instdisc": (_NARROW, (_MOCO_V1, _MOCO_V1)),
    "jigsaw": (Geometry(0.6, 1.0, 1.0, 1.0), (View(gray_probability=0.66),) * 2),
    "infomin": (_NARROW, (dataclasses.replace(_SIMCLR, rand_augment=RandAugment()),) * 2),
    "crop": (_WIDE, (View(), View())),
    "none": (Geometry(1.0, 1.0, 1.0, 1.0, flip=0.0), (View(), View())),
    "multicrop_2x224_6x96": (
        Geometry(min_area=0.14),
        (_SIMCLR, _SIMCLR, *_small(_SIMCLR, 6, (0.05, 0.14), 96 / 224)),
    ),
    "dino_2x224_8x96": (
        Geometry(min_area=0.4),
        (_FIRST, _SECOND, *_small(dataclasses.replace(_FIRST, blur_probability=0.5), 8, (0.05, 0.4), 96 / 224)),
    ),
    "embedded_2x28_4x14": (
        Geometry(min_area=0.5),
        (_SIMCLR, _SIMCLR, *_small(_SIMCLR, 4, (0.15, 0.5), 14 / 28)),
    ),
}
_IMAGE_SIZES = {"multicrop_2x224_6x96": 224, "dino_2x224_8x96": 224, "embedded_2x28_4x14": 28}


def policy(
    name: str,
    *,
    strength: float = 1.0,
    blur: bool | None = None,
    color_ops: str = "fused",
    image_size: int | None = None,
) -> Policy:
    """The augmentation policy of that name.

    The ranges and probabilities are each paper's, the ops those of google-research/simclr (TensorFlow's) for all. The code
    of MoCo, Barlow Twins, SupCon and instance discrimination has torchvision's on Pillow's images, which differ:

    - crops: the area is drawn uniformly and resized with antialiasing (bilinearly, but for Barlow Twins), here without it
      and bicubically;
    - contrast: about the mean of the gray image, here about each channel's own;
    - saturation: a blend with the gray image, here a factor on the S of HSV (with "fused" on the color axes of YIQ);
    - blur: pixels beyond the border repeat the last one, here they are zero and the border darkens; the kernel is as
      long as sigma asks for, here a tenth of the image.

    "crop" crops and flips only; "none" shows the whole image as it is.

    Args:
        name: one of `POLICIES`.
        strength: multiplies the ranges of the color jitter, >= 0; 0 turns it off.
        blur: None: as the policy says; False: never; True: with probability .5 in views that have none.
        color_ops: "fused" or "exact", see `ops.color_jitter`.
        image_size: the blur's kernel is a tenth of it, in pixels; None: of the height of the images.

    Returns:
        a `Policy`.

    Raises:
        InputError: an unknown name or form, a negative strength, or one that takes hue beyond half a turn.

    Examples:
        >>> byol = policy("byol")
        >>> [view.blur_probability for view in byol.views]
        [1.0, 0.1]
    """
    if name not in POLICIES:
        raise InputError(f"`augmentation` {unknown(name, POLICIES)}")
    if color_ops not in FORMS:
        raise InputError(f"`color_ops` {unknown(color_ops, FORMS)}")
    if strength < 0:
        raise InputError(f"`strength` must be >= 0. Received: strength={strength}.")
    geometry, views = POLICIES[name]
    made = []
    for view in views:
        jitter = view.jitter and ops.ColorRange(*(strength * limit for limit in view.jitter))
        if jitter and jitter.hue > 0.5:
            raise InputError(
                f"`strength` must be <= {0.5 / view.jitter.hue:g} with {name}, whose hue would turn further than half "
                f"a circle. Received: strength={strength}."
            )
        chosen = {None: view.blur_probability, False: 0.0, True: view.blur_probability or 0.5}[blur]
        made.append(
            dataclasses.replace(
                view, jitter=jitter, blur_probability=chosen, color_ops=color_ops, image_size=image_size
            )
        )
    return Policy(name, geometry, tuple(made), _IMAGE_SIZES.get(name))


def policy_from_config(config: AugmentConfig) -> Policy:
    """The policy that a checked configuration describes.

    Raises:
        InputError: as `policy` and `with_views`.

    Examples:
        >>> policy_from_config(AugmentConfig(use_blur=False)).views[0].blur_probability
        0.0
        >>> policy_from_config(AugmentConfig(keep_orientation=True)).geometry.flip
        0.0
    """
    made = policy(
        config.augmentation,
        strength=config.color_jitter_strength,
        blur=None if config.use_blur else False,
        color_ops=config.color_ops,
    )
    if config.crop_min_area is not None:
        geometry = dataclasses.replace(made.geometry, min_area=config.crop_min_area)
        made = dataclasses.replace(made, geometry=geometry)
    made = _kept(made, orientation=bool(config.keep_orientation), color=bool(config.keep_color))
    return with_views(
        made,
        num_views=config.num_views,
        small_views=config.small_views,
        small_view_size=config.small_view_size,
        small_view_area=parse_area(config.small_view_area) if config.small_view_area else None,
    )


def _kept(made: Policy, *, orientation: bool, color: bool) -> Policy:
    """The policy without mirroring, without what changes hue and saturation."""
    geometry, views = made.geometry, list(made.views)
    if orientation:
        geometry = dataclasses.replace(geometry, flip=0.0)
        views = [
            dataclasses.replace(view, geometry=view.geometry and dataclasses.replace(view.geometry, flip=0.0))
            for view in views
        ]
    if color:
        views = [
            dataclasses.replace(
                view,
                jitter=view.jitter and view.jitter._replace(saturation=0.0, hue=0.0),
                gray_probability=0.0,
                solarize_probability=0.0,
                rand_augment=view.rand_augment and view.rand_augment._replace(color=False),
            )
            for view in views
        ]
    return dataclasses.replace(made, geometry=geometry, views=tuple(views))
