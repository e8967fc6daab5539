"""The gallery of components: complete, small, and drawn by what the components compute."""

import itertools
import pathlib

import numpy as np
import pytest

from experiments.visualization import gallery
from uflow import registry
from uflow.ops import geometry

DOCS = pathlib.Path(__file__).parents[3] / "docs"
COMPONENTS = [(axis, name) for axis in gallery.MAPS for name in registry.names(axis)]


@pytest.fixture(scope="module")
def small():
    return gallery.scene(32, 48)


def test_every_component_has_its_picture_and_no_other_is_there():
    wanted = {gallery.place(axis, name) for axis, name in COMPONENTS}
    there = {path.relative_to(DOCS).as_posix() for path in (DOCS / "images/gallery").rglob("*.png")}
    assert {path for path in there if "/scene/" not in path} == wanted
    assert (DOCS / "gallery.md").read_text() == gallery.page(), "run: python -m experiments.visualization.gallery"


def test_all_pictures_together_are_small():
    assert sum(path.stat().st_size for path in (DOCS / "images/gallery").rglob("*")) < 1.5e6


@pytest.mark.parametrize("axis", gallery.MAPS)
def test_no_two_components_of_an_axis_have_the_same_picture(axis):
    pictures = {name: (DOCS / gallery.place(axis, name)).read_bytes() for name in registry.names(axis)}
    assert not [pair for pair in itertools.combinations(pictures, 2) if len({pictures[name] for name in pair}) == 1]


def test_the_flow_back_is_that_of_the_scene_played_backward(small):
    back = np.stack([channel for channel in small.backward])
    y, x = np.mgrid[:32, :48]
    to_x, to_y = (np.rint(at).astype(int) for at in (x + small.forward[0], y + small.forward[1]))
    seen = ~small.pair.occluded & (to_x < 48) & (to_y < 32)
    gap = np.hypot(*(small.forward[:, seen] + back[:, to_y[seen], to_x[seen]]))
    assert (gap < 1e-4).mean() > 0.95  # at the edge of a shape a rounded place may be another layer's


def test_a_mask_is_what_its_component_says_and_hides_what_leaves_the_frame(small):
    drawn = gallery.picture("occlusion", "none", small)[..., 0]
    inside = geometry.inside_frame(gallery.smoothed(small.forward)).asnumpy()[0, 0]
    assert np.array_equal(drawn, 255 * inside.astype(np.uint8)) and 0 < inside.mean() < 1
    true = gallery.picture("occlusion", "ground_truth", small)[..., 0] > 0
    assert np.array_equal(true, ~small.pair.occluded & (inside > 0))


def test_a_loss_is_drawn_as_it_is_computed(small, monkeypatch):
    monkeypatch.setattr(gallery, "STRIDE", 16)
    found = gallery.photometric(registry.build("photometric", "l1"), small)
    first, second = (frame[0] for frame in small.frames)
    warped = geometry.warp(gallery.tensor(second[None]), gallery.tensor(small.forward[None])).asnumpy()[0]
    error = np.abs(first - warped).sum(axis=0)
    half = gallery.WINDOW // 2
    assert found.shape == (2, 3) and np.isclose(found[1, 2], error[16 - half : 17 + half, 32 - half : 33 + half].mean())
    assert np.isclose(found[0, 0], error[: half + 1, : half + 1].mean())


def test_a_matching_cost_is_that_of_the_normalized_features(small):
    (y, x), _ = gallery.marked(small)
    one, two = (gallery.features(frame)[0] for frame in small.frames)
    plain = gallery.normalization(registry.build("normalization", "none"), small)
    assert np.allclose(plain, (one[:, y, x][:, None, None] * two).mean(axis=0), atol=1e-6)
    cosine = gallery.normalization(registry.build("normalization", "l2"), small)
    assert np.abs(cosine).max() <= 1 + 1e-5 and not np.allclose(cosine, plain, atol=0.1)


def test_nobody_is_pulled_without_a_student(small):
    assert not gallery.selfsup(registry.build("selfsup", "none"), small).any()


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert gallery.main(["--out", str(tmp_path / "file")]) == 2
    assert "cannot be written to" in capsys.readouterr().err
