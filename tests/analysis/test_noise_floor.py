"""What the baseline differs from itself: measured once, drawn in the other studies, and known to a plan at once."""

import json
import subprocess
import sys

import pytest

from analysis.noise_floor import band, read, smallest_effect
from analysis.plan import read_plan
from analysis.power import smallest_detectable
from analysis.report import write_report

METRIC = "epe/synthetic/all"
CONDITIONS = {"metric": METRIC, "preset": "short", "protocol": "full/1"}


@pytest.fixture
def floor(simulate):
    study = simulate("baseline", "other seeds", "again", name="noise_floor", seeds=(0, 1, 2))
    study.write_arm("baseline", [3.0, 3.0, 3.0])
    study.write_arm("other seeds", [3.1, 2.9, 3.3])  # differences .1, -.1, .3: mean .1, sd .2
    study.write_arm("again", [3.0, 3.0, 3.0])
    write_report(study.directory)
    return study


def _other(simulate, **more):
    study = simulate("baseline", "wang", seeds=(0, 1, 2), **more)
    study.write_arm("baseline", [3.0, 3.0, 3.0])
    study.write_arm("wang", [2.0, 2.1, 2.0])
    return study


def test_the_widest_repetition_counts(floor):
    found = read(floor.out)
    # t(.975, 2) = 4.3027: half-width 4.3027 * .2 / sqrt 3 = .4968
    assert (found.arm, found.pairs, found.sd) == ("other seeds", 3, pytest.approx(0.2))
    assert found.half_width == pytest.approx(0.4968, abs=1e-4)


def test_it_is_a_band_in_the_figures_of_other_studies(floor, simulate):
    study = _other(simulate)
    half_width, name = band(floor.out, read_plan(study.directory))
    assert half_width == pytest.approx(0.4968, abs=1e-4)
    # run names of the simulation follow from label and seed: this baseline is the one of the noise floor
    assert name == "baseline against itself"
    assert "baseline against itself" in write_report(study.directory).paths["forest.svg"].read_text()
    assert band(floor.out, read_plan(floor.directory)) is None  # not in its own


def test_a_band_of_another_baseline_is_called_so_and_one_of_another_metric_is_not_drawn(floor, simulate):
    study = _other(simulate, baseline="wang")
    assert band(floor.out, read_plan(study.directory))[1] == "baseline of noise_floor against itself"
    other = _other(simulate, name="other", metrics=("epe/synthetic/occ",), metric="epe/synthetic/occ")
    assert band(floor.out, read_plan(other.directory)) is None
    assert "against itself" not in write_report(other.directory).paths["forest.svg"].read_text()


def test_a_plan_learns_the_smallest_effect_that_it_can_show(floor):
    assert smallest_effect(floor.out, CONDITIONS, 6, 1) == pytest.approx(smallest_detectable(0.2, 6))
    assert smallest_effect(floor.out, CONDITIONS, 6, 4) == pytest.approx(smallest_detectable(0.2, 6, alpha=0.0125))
    # between those worked out: fewer seeds, more comparisons
    assert smallest_effect(floor.out, CONDITIONS, 11, 3) == smallest_effect(floor.out, CONDITIONS, 10, 4)
    assert smallest_effect(floor.out, CONDITIONS, 1, 1) is None
    assert smallest_effect(floor.out, CONDITIONS, 6, 99) is None
    assert smallest_effect(floor.out, CONDITIONS | {"preset": "paper"}, 6, 1) is None
    assert smallest_effect(floor.out / "nowhere", CONDITIONS, 6, 1) is None


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"noise_floor": null}', '{"noise_floor": {"metric": "x"}}'])
def test_a_report_that_cannot_be_read_gives_none(tmp_path, content):
    (tmp_path / "noise_floor" / "report").mkdir(parents=True)
    (tmp_path / "noise_floor" / "report" / "effects.json").write_text(content)
    assert read(tmp_path) is None


def test_a_floor_without_pairs_is_none(simulate):
    study = simulate("baseline", "other seeds", name="noise_floor")
    study.write("baseline", 0, 3.0)
    plain = json.loads(write_report(study.directory).paths["effects.json"].read_text())
    assert plain["noise_floor"] is None and read(study.out) is None


def test_reading_it_needs_neither_scipy_nor_pandas():
    code = "import sys, analysis.noise_floor; print([m for m in ('scipy', 'pandas', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
