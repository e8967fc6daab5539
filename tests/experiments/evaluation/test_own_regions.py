"""Regions that a file brings: weights of pixels, measured beside the project's own, and refused by name."""

import csv
import hashlib
import json
import pathlib
import re

import cv2
import numpy as np
import pytest

from experiments import evaluate
from experiments.data.catalog import open_source
from experiments.data.pairs import DataError, Pair
from experiments.evaluation import regions
from experiments.evaluation.metrics import end_point_error
from experiments.evaluation.protocols import PROTOCOLS
from experiments.execution.inputs import with_digests
from experiments.spec import canonical, changed, default_spec, prefix_id
from uflow import extensions

PAGE = (pathlib.Path(__file__).parents[3] / "docs/guide/measures.md").read_text()
FLAT = re.search(r'title="flat.py"\n(.*?)```', PAGE, re.DOTALL)[1]
SCENES = {
    "data.height": 32, "data.width": 48, "data.scenes.train_pairs": 2, "data.scenes.validation_pairs": 1,
    "data.scenes.test_pairs": 2, "data.scenes.radius_min": 5, "data.scenes.radius_max": 8,
}  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch):
    monkeypatch.setattr(extensions, "_loaded", {})


@pytest.fixture
def bring(tmp_path):
    """Loads a file with a text and tells its path and its digest."""

    def write(text, name="mine.py"):
        file = tmp_path / name
        file.write_text(text)
        extensions.load([file])
        return file, hashlib.sha256(file.read_bytes()).hexdigest()[:12]

    return write


def region(body):
    return f"import numpy as np\ndef mine(pair):\n    {body}\nREGIONS = {{'mine': mine}}\n"


@pytest.fixture
def scene():
    """One row of five motions with errors 0, 2, 4, 6 and, where it is not known, 50 px."""
    truth, flow = np.zeros((2, 2, 1, 5), np.float32)
    flow[0, 0] = 0, 2, 4, 6, 50
    frame = np.zeros((1, 5, 3), np.uint8)
    return Pair("p", frame, frame, truth, valid=np.array([[True, True, True, True, False]])), flow


def measured(scene, protocol="full/1"):
    import dataclasses

    totals = dataclasses.replace(PROTOCOLS[protocol], more=("mine",)).totals("x", *scene)
    return {name: total.mean for name, total in totals.items()}


@pytest.mark.parametrize(
    "body, epe, share",
    [
        ("return np.array([[False, False, True, True, True]])", 5.0, 100.0),
        ("return np.array([[0, 0.5, 1, 0, 1]])", (0.5 * 2 + 4) / 1.5, 100 / 1.5),
        ("return np.array([[0, 0, 0, 0, 1]])", None, None),
        ("return ~pair.valid", None, None),
    ],
)
def test_errors_are_weighted_by_the_region_where_the_flow_is_known(bring, scene, body, epe, share):
    bring(region(body))
    found = measured(scene)
    assert (found["epe/mine"], found["3px/mine"]) == (epe, share) and found["epe/all"] == 3.0


def test_a_pair_that_cannot_tell_has_no_such_number_and_the_references_protocol_none_of_others(bring, scene):
    bring(region("return None"))
    assert "epe/mine" not in measured(scene)
    bring(region("return pair.valid"))
    assert measured(scene)["epe/mine"] == 3.0 and "epe/mine" not in measured(scene, "uflow/1")


@pytest.mark.parametrize(
    "body, said",
    [
        ("return 1 / 0", "ZeroDivisionError: division by zero"),
        ("return pair.valid[0]", r"must be numbers of shape \(1, 5\), got bool of shape \(5,\)"),
        ("return pair.valid.astype(str)", r"must be numbers of shape \(1, 5\), got <U5 of shape \(1, 5\)"),
        ("return 2.0 * pair.valid", r"must be in \[0, 1\], got 0 to 2"),
        ("return np.where(pair.valid, 1, np.nan)", r"must be in \[0, 1\], got nan to nan"),
    ],
)
def test_what_is_no_region_is_one_sentence_with_the_file(bring, scene, body, said):
    file, _ = bring(region(body))
    with pytest.raises(DataError, match=f"^region 'mine' of {file}: pair p: {said}$"):
        measured(scene)


@pytest.mark.parametrize("name, said", [("occ", "a region 'occ' is there already"), ("a/b", "must be an identifier")])
def test_a_name_that_cannot_be_is_refused(bring, name, said):
    file, _ = bring(region("return pair.valid").replace("'mine'", repr(name)))
    with pytest.raises(ValueError, match=f"extension {file}: .*{said}"):
        regions.brought()


def test_the_command_shows_and_keeps_it_beside_the_others(bring, tmp_path, capsys):
    file, digest = bring(FLAT, "flat.py")
    out = tmp_path / "out"
    words = [
        "--eval",
        "synthetic",
        "--max-pairs",
        "2",
        "--method",
        "zero",
        "--extensions",
        str(file),
        "--out",
        str(out),
    ]
    assert evaluate.main(words) == 0
    head, epe = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith(("  ", "EPE"))]
    assert head[-1] == "flat" and head[:3] == ["all", "noc", "occ"]

    data = default_spec().data
    pairs = open_source("synthetic", "test", height=data.height, width=data.width, scenes=data.scenes)
    expected = []
    for pair in (pairs[0], pairs[1]):
        steps = np.hypot(*np.gradient(pair.first.mean(axis=2)))
        expected.append(end_point_error(np.zeros_like(pair.flow), pair.flow)[steps < 2].mean())
    plain = json.loads((out / "evaluation.json").read_text())
    assert plain["regions"] == f"flat@{digest}" and plain["numbers"]["epe/synthetic/flat"]["unit"] == "px"
    assert plain["numbers"]["epe/synthetic/flat"]["value"] == pytest.approx(np.mean(expected), rel=1e-12)
    assert float(epe[-1]) == pytest.approx(np.mean(expected), abs=5e-4)
    with open(out / "per_frame.csv") as lines:
        rows = [float(row["epe/flat"]) for row in csv.DictReader(lines)]
    assert rows == pytest.approx(expected, rel=1e-12)


def test_the_digest_of_the_file_is_in_the_name_of_runs_that_measure_it_and_of_no_others(bring):
    before = with_digests(changed(default_spec(), SCENES))
    file, digest = bring(region("return np.ones(pair.flow.shape[1:])"))
    bring(region("return None").replace("mine", "other"), "other.py")
    assert with_digests(changed(default_spec(), SCENES)) == before and "regions" not in canonical(before)["evaluation"]
    asked = changed(default_spec(), SCENES | {"evaluation.regions": " mine,mine "})
    spec = with_digests(asked)
    assert canonical(spec)["evaluation"]["regions"] == f"mine@{digest}" and with_digests(spec) == spec
    assert spec.run_id != before.run_id and prefix_id(spec, 10) != prefix_id(before, 10)
    bring(file.read_text() + "# another content\n")
    assert with_digests(asked).run_id != spec.run_id
    with pytest.raises(
        ValueError, match=f"'mine' was stored as that of a file with digest {digest}, {file} has [0-9a-f]+"
    ):
        with_digests(spec)


def test_a_region_of_nothing_that_is_evaluated_is_refused(bring, tmp_path):
    bring(region("return np.ones(pair.flow.shape[1:])"))
    (tmp_path / "frames").mkdir()
    for number in range(40):
        cv2.imwrite(str(tmp_path / f"frames/{number:02}.png"), np.full((32, 48, 3), number, np.uint8))
    spec = changed(
        default_spec(), {"data.source": f"frames:{tmp_path / 'frames'}", "data.height": 32, "data.width": 48}
    )
    assert with_digests(spec).evaluation.digest == ""
    with pytest.raises(
        DataError, match="^evaluation.regions=mine@[0-9a-f]{12}: nothing is evaluated, frames has no true"
    ):
        with_digests(changed(spec, {"evaluation.regions": "mine"}))


def test_what_cannot_be_measured_is_refused_before_anything_is_trained(bring):
    asked = changed(default_spec(), SCENES | {"evaluation.regions": "mime"})
    with pytest.raises(ValueError, match=r"unknown region 'mime' \(none is loaded, give its file with --extensions\)"):
        with_digests(asked)
    file, _ = bring(region("return np.zeros(pair.flow.shape[1:])"))
    with pytest.raises(ValueError, match=r"unknown region 'mime'; did you mean 'mine'\? \(known: mine\)"):
        with_digests(asked)
    with pytest.raises(DataError, match=f"'mine' of {file}: none of 2 pairs of synthetic has a pixel of it"):
        with_digests(changed(asked, {"evaluation.regions": "mine"}))
