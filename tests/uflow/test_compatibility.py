import dataclasses

import pytest

from uflow import registry
from uflow.components import Components
from uflow.models import compatibility
from uflow.models.architecture import Architecture

SMALL = Architecture(levels=3, width=0.125)


def components(occlusion="wang", mask="gaussian", photometric="census", patch=7, **selfsup):
    options = {"crop_height": 8, "crop_width": 8, "mask": mask} | selfsup
    start = options.pop("occlusion_start", 0.0)
    return Components(
        photometric=registry.build("photometric", photometric, {"patch": patch}),
        occlusion=registry.build("occlusion", occlusion, {} if occlusion == "none" else {"start": start}),
        smoothness=registry.build("smoothness", "first_order"),
        normalization=registry.build("normalization", "center_scale"),
        selfsup=registry.build("selfsup", "teacher_student", options),
    )


def test_what_fits_together_is_not_refused():
    assert compatibility.problems(SMALL, components(), 64, 64) == []
    assert compatibility.problems(SMALL, components(resize=False), 64, 64) == []
    assert compatibility.problems(SMALL, components(mask="advection"), 64, 64) == []


@pytest.mark.parametrize(
    ("network", "chosen", "size", "sentence"),
    [
        (Architecture(), {}, (64, 64), "network.levels=5: the cost volume reaches 4 px"),
        (SMALL, {}, (64, 60), "data.width 60 is not a multiple of 8"),
        (SMALL, {"crop_height": 32}, (64, 64), "selfsup.crop_height=32 cuts away all of data.height=64"),
        (SMALL, {"crop_width": 64}, (64, 64), "it must be less than 32"),
        (SMALL, {"crop_height": 4, "resize": False}, (64, 64), None),
        (SMALL, {"crop_height": 16, "resize": False}, (64, 64), "student's height 32 is too small"),
        (SMALL, {"crop_width": 20, "resize": False}, (64, 68), "data.width 68 is not a multiple"),
        (SMALL, {"mask": "advection", "occlusion": "none"}, (64, 64), "occlusion.name=none does not give"),
        (SMALL, {"mask": "advection", "occlusion": "ground_truth"}, (64, 64), "possible: brox, fb_abs"),
        (SMALL, {"mask": "advection", "occlusion_start": 0.9}, (64, 64), "occlusion.start=0.9 is later"),
        (Architecture(levels=2, cost_volume=False), {"patch": 11}, (8, 64), "photometric.patch=11 is too large"),
    ],
)
def test_what_cannot_work_is_refused_naming_option_and_limit(network, chosen, size, sentence):
    found = compatibility.problems(network, components(**chosen), *size)
    assert (not found) if sentence is None else any(sentence in line for line in found), found


@pytest.mark.parametrize(
    ("network", "groups", "sentences"),
    [
        (SMALL, 4, []),
        (SMALL, 3, [f"channel_groups=3 does not divide the 4 channels of pyramid level {level}" for level in (2, 3)]),
        # 16, 32, 64 and 96 channels, of which the first have no cost volume
        (Architecture(levels=4, original_layer_sizes=True), 32, []),
        (Architecture(levels=6, original_layer_sizes=True), 32, ["channel_groups=32 does not divide the 196 channels"]),
    ],
)
def test_groups_of_channels_are_equal(network, groups, sentences):
    normalization = registry.build("normalization", "group", {"channel_groups": groups})
    chosen = dataclasses.replace(components(), normalization=normalization)
    found = compatibility.problems(network, chosen, 384, 512)
    assert len(found) == len(sentences) and all(s in line for s, line in zip(sentences, found, strict=True)), found


@pytest.mark.parametrize(
    ("occlusion", "options", "sentence"),
    [
        ("none", {}, None),
        ("wang", {"mask": "advection"}, None),
        (
            "none",
            {"mask": "advection"},
            "selfsup.mask=advection needs masks of estimated flows, which occlusion.name=none does not give",
        ),
        ("brox", {"start": 0.2, "mask": "advection"}, "occlusion.start=0.5 is later"),
    ],
)
def test_a_student_of_moved_frames_has_no_crop_but_may_need_a_mask(occlusion, options, sentence):
    late = {} if occlusion == "none" else {"start": 0.5}
    chosen = dataclasses.replace(
        components(),
        occlusion=registry.build("occlusion", occlusion, late),
        selfsup=registry.build("selfsup", "arflow", options),
    )
    found = compatibility.problems(SMALL, chosen, 64, 64)
    assert (not found) if sentence is None else any(sentence in line for line in found), found


def test_the_shift_of_the_students_view_stays_in_the_frame():
    with pytest.raises(ValueError, match=r"max_shift_width \(12\) must not exceed crop_width \(8\)"):
        components(max_shift_width=12)
    with pytest.raises(ValueError, match="crop_height must be a multiple of 4"):
        components(crop_height=6)


def test_at_least_one_sign_of_occlusion_is_used():
    with pytest.raises(ValueError, match="at least one of fb_abs"):
        registry.build("occlusion", "uflow", dict.fromkeys(("fb_abs", "forward_collision", "backward_zero"), False))


def test_a_window_of_smoothness_fits_into_its_level():
    wide = dataclasses.replace(components(), smoothness=registry.build("smoothness", "bilateral", {"radius": 5}))
    (problem,) = compatibility.problems(Architecture(levels=2), wide, 32, 20)
    assert problem == "smoothness.radius=5 is too large for data.width=20: at pyramid level 2 there are 5 px"
