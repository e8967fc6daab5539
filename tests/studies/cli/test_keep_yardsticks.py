"""What needs no training is measured once per study, on the data of its baseline, or not at all."""

import json
import re
import shutil

import pytest

from experiments.execution.inputs import with_digests
from experiments.records.json_files import write_json
from experiments.records.yardsticks import read_yardsticks
from experiments.spec import changed, default_spec, to_config
from studies.cli.yardsticks import keep_yardsticks
from uflow import extensions

SCENES = {
    "data.height": 32, "data.width": 48, "data.scenes.train_pairs": 2, "data.scenes.validation_pairs": 1,
    "data.scenes.test_pairs": 2, "data.scenes.radius_min": 5, "data.scenes.radius_max": 8,
}  # fmt: skip
ALL = "epe/synthetic/all"
READER = """
from experiments.data.synthetic.options import SceneOptions
from experiments.data.synthetic.scenes import Scenes

def tiny(path, split):
    return Scenes(SceneOptions(train_pairs=2, test_pairs=2, radius_min=5, radius_max=8), 32, 48, split)

SOURCES = {"tiny": tiny}
"""


@pytest.fixture
def study(tmp_path):
    """A folder with a plan of one arm and the spec of its run."""
    return planned(tmp_path, with_digests(changed(default_spec(), SCENES)))


def planned(tmp_path, spec):
    folder = tmp_path / "mine"
    plan = {
        "format": 1, "study": "mine", "question": "?", "preset": "smoke", "metrics": [ALL], "metric": ALL,
        "baseline": "one", "protocol": spec.evaluation.numbers, "seeds": [0],
        "arms": [{"label": "one", "changes": {}, "runs": {"0": spec.directory}}],
    }  # fmt: skip
    write_json_in(folder, "plan.json", plan)
    write_json_in(tmp_path / "runs" / spec.directory, "spec.json", to_config(spec))
    return folder


def write_json_in(folder, name, content):
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / name, content)


def test_four_methods_are_measured_once(study, capsys):
    keep_yardsticks(study)
    found = read_yardsticks(study)
    assert list(found.numbers) == ["no motion", "best constant motion", "Farneback", "DIS"]
    assert found.protocol == "full/1" and re.fullmatch("[0-9a-f]{16}", found.digest)
    assert all(set(metrics) == {ALL, ALL[:-3] + "noc", ALL[:-3] + "occ"} for metrics in found.numbers.values())
    assert 0 < found.numbers["best constant motion"][ALL] < found.numbers["no motion"][ALL]
    assert "on 2 pairs of synthetic" in capsys.readouterr().out
    before = (study / "yardsticks.json").stat().st_mtime_ns
    keep_yardsticks(study)
    assert (study / "yardsticks.json").stat().st_mtime_ns == before and capsys.readouterr().out == ""


@pytest.mark.parametrize("change", [lambda plain: plain.update(digest="0" * 16), lambda plain: plain.pop("methods")])
def test_those_of_other_data_and_damaged_ones_are_measured_again(study, change):
    keep_yardsticks(study)
    path = study / "yardsticks.json"
    whole = path.read_bytes()
    plain = json.loads(whole)
    change(plain)
    write_json(path, plain)
    keep_yardsticks(study)
    assert path.read_bytes() == whole


def test_data_that_have_changed_or_are_not_there_are_a_note_and_no_file(study, capsys):
    path = next(study.parent.glob("runs/*/spec.json"))
    plain = json.loads(path.read_text())
    for change, reason in (
        ({"digest": "0" * 16}, "synthetic has changed since the runs were evaluated on it"),
        ({"source": "sintel_clean:/nowhere"}, "/nowhere"),
    ):
        write_json(path, plain | {"evaluation": plain["evaluation"] | change})
        keep_yardsticks(study)
        said = capsys.readouterr().err
        assert said.startswith("note: the tables have no methods without training: ") and reason in said
        assert not (study / "yardsticks.json").exists()


def test_data_that_a_file_brings_have_not_changed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(extensions, "_loaded", {})
    (tmp_path / "tiny.py").write_text(READER)
    extensions.load([tmp_path / "tiny.py"])
    sources = {"data.source": f"tiny:{tmp_path}", "evaluation.source": f"tiny:{tmp_path}"}
    keep_yardsticks(planned(tmp_path, with_digests(changed(default_spec(), SCENES | sources))))
    assert len(read_yardsticks(tmp_path / "mine").numbers) == 4 and capsys.readouterr().err == ""


def test_regions_of_a_file_are_measured_too_and_again_when_they_are_others(tmp_path, monkeypatch):
    monkeypatch.setattr(extensions, "_loaded", {})

    def kept(text):
        (tmp_path / "left.py").write_text(text)
        extensions.load([tmp_path / "left.py"])
        spec = with_digests(changed(default_spec(), SCENES | {"evaluation.regions": "left"}))
        keep_yardsticks(planned(tmp_path, spec))
        found = read_yardsticks(tmp_path / "mine")
        assert found.regions == spec.evaluation.regions
        return {title: numbers["epe/synthetic/left"] for title, numbers in found.numbers.items()}

    text = "import numpy\ndef left(pair):\n    return numpy.indices((32, 48))[1] < {}\nREGIONS = {{'left': left}}\n"
    first = kept(text.format(48))
    assert first == {title: numbers[ALL] for title, numbers in read_yardsticks(tmp_path / "mine").numbers.items()}
    shutil.rmtree(tmp_path / "runs")
    second = kept(text.format(24))
    assert second.keys() == first.keys() and all(second[title] != first[title] for title in first)


def test_a_study_without_a_run_of_its_baseline_has_none(study, capsys):
    next(study.parent.glob("runs/*/spec.json")).unlink()
    keep_yardsticks(study)
    assert not (study / "yardsticks.json").exists() and capsys.readouterr() == ("", "")
