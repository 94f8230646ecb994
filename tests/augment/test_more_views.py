"""Policies of more views than two, and of small ones, by flag and by name."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfcontrastive import augment
from tfcontrastive.config import AugmentConfig, InputError
from tfcontrastive.config.finetune import FinetuneConfig

OF_SIMCLR = augment.policy("simclr").views[0]


def made(**flags):
    return augment.policy_from_config(AugmentConfig(**flags))


def test_nothing_asked_for_changes_nothing():
    assert made(augmentation="byol") == augment.policy("byol")


@settings(max_examples=30, deadline=None)
@given(large=st.integers(2, 9), small=st.integers(0, 9), side=st.integers(1, 63), size=st.integers(64, 300))
def test_views_are_as_many_and_as_large_as_asked_for(large, small, side, size):
    of_size = {"small_view_size": side} if small else {}
    assert made(num_views=large, small_views=small, **of_size).sides(size) == (size,) * large + (side,) * small


def test_small_views_are_swavs_where_nothing_else_is_said():
    policy = made(augmentation="moco_v2", small_views=1)
    assert policy.sides(224) == (224, 224, 96)
    assert policy.geometries[:2] == (augment.Geometry(min_area=0.2),) * 2
    assert policy.geometries[2] == augment.Geometry(min_area=0.05, max_area=0.14, size=96 / 224)


def test_colors_take_turns_among_the_large_and_among_the_small():
    policy = made(augmentation="byol", num_views=3, small_views=3)
    assert [view.blur_probability for view in policy.views] == [1.0, 0.1, 1.0] * 2
    assert [view.solarize_probability for view in policy.views] == [0.0, 0.2, 0.0] * 2


def test_areas_of_large_and_small_views_are_set_apart():
    policy = made(crop_min_area=0.3, small_views=2, small_view_area="0.1,0.25")
    assert [(one.min_area, one.max_area) for one in policy.geometries] == [(0.3, 1.0)] * 2 + [(0.1, 0.25)] * 2


def test_the_published_policies_have_their_numbers():
    swav, dino = augment.policy("multicrop_2x224_6x96"), augment.policy("dino_2x224_8x96")
    assert (swav.sides(224), dino.sides(224)) == ((224,) * 2 + (96,) * 6, (224,) * 2 + (96,) * 8)
    areas = [
        [(policy.geometries[at].min_area, policy.geometries[at].max_area) for at in (0, -1)] for policy in (swav, dino)
    ]
    assert areas == [[(0.14, 1.0), (0.05, 0.14)], [(0.4, 1.0), (0.05, 0.4)]]
    assert {(view.jitter, view.gray_probability, view.blur_probability) for view in swav.views} == {
        (OF_SIMCLR.jitter, 0.2, 0.5)
    }
    assert [view.blur_probability for view in dino.views] == [1.0, 0.1, *[0.5] * 8]
    assert [view.solarize_probability for view in dino.views] == [0.0, 0.2, *[0.0] * 8]
    assert augment.policy("embedded_2x28_4x14").sides(28) == (28,) * 2 + (14,) * 4


def test_a_name_and_what_agrees_with_it_is_fine():
    agreeing = {"num_views": 2, "small_views": 6, "small_view_size": 96, "small_view_area": "0.05,0.14"}
    assert made(augmentation="multicrop_2x224_6x96", **agreeing) == augment.policy("multicrop_2x224_6x96")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"num_views": 3}, "`num_views` must be 2 with augmentation=multicrop_2x224_6x96. Received: num_views=3"),
        ({"small_views": 4}, "`small_views` must be 6 with augmentation=multicrop_2x224_6x96. Received: small_views=4"),
        ({"small_view_size": 64}, "`small_view_size` must be 96 with"),
        (
            {"small_view_area": "0.1,0.2"},
            r"`small_view_area` must be 0.05,0.14 with .* Received: small_view_area=0.1,0.2",
        ),
        ({"augmentation": "crop", "small_view_size": 8}, "`small_view_size` must come with small_views"),
        ({"augmentation": "crop", "small_views": 0, "small_view_area": "0.1,0.2"}, "`small_view_area` must come with"),
        ({"num_views": 1}, "`num_views` must be >= 2"),
        ({"small_views": -1}, "`small_views` must be >= 0"),
        ({"small_view_area": "0.2,0.1"}, "`small_view_area` must be LOW,HIGH with 0 < LOW <= HIGH <= 1"),
        ({"small_view_area": "half"}, "`small_view_area` must be LOW,HIGH"),
    ],
)
def test_contradictions_are_refused_in_one_line(flags, message):
    with pytest.raises(InputError, match=message) as error:
        made(**{"augmentation": "multicrop_2x224_6x96", **flags})
    assert "\n" not in str(error.value)


def test_sizes_that_an_image_size_does_not_allow_are_refused():
    with pytest.raises(
        InputError, match=r"`image_size` must be 28 with augmentation=embedded_2x28_4x14. Received: .*=32"
    ):
        augment.policy("embedded_2x28_4x14").sides(32)
    with pytest.raises(InputError, match="`small_view_size` must be below image_size, 28"):
        made(small_views=2, small_view_size=28).sides(28)


def test_fine_tuning_refuses_more_views():
    with pytest.raises(InputError, match=r"`num_views` must be left out here, .* Received: num_views=3"):
        FinetuneConfig(augmentation=AugmentConfig(num_views=3))
