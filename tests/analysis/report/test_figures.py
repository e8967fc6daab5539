"""Figures: valid, deterministic, to scale, and readable without colors."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from analysis.report.figures import BLUE, GREEN, ORANGE, curves, forest, interaction_map, tuning
from analysis.results.comparison import Comparison
from analysis.results.curves import Curve
from analysis.results.load import load_study
from analysis.results.tables import comparison_table
from analysis.statistics.paired import Estimate, mean_interval

METRIC = "epe/synthetic/all"


def _texts(svg):
    return [text for element in ElementTree.fromstring(svg).iter() if (text := (element.text or "").strip())]


@pytest.fixture
def table(simulate):
    study = simulate("none", "wang", "brox", "same", "later")
    base = np.array([3.0, 3.1, 3.2, 3.3, 3.4])
    study.write_arm("none", list(base))
    study.write_arm("wang", list(base - 0.4 + [0.01, 0, -0.01, 0.01, 0]))
    study.write_arm("brox", list(base + 0.2 + [0.01, 0, -0.01, 0, 0.01]))
    study.write_arm("same", list(base + [0.001, 0, -0.001, 0, 0]))
    return comparison_table(load_study(study.directory), METRIC)


def test_a_forest_tells_verdicts_in_words_and_marks_and_is_to_scale(table):
    svg = forest(table)
    texts = " ".join(_texts(svg))
    for words in ("helps  -0.398 +- 0.010", "hurts  +0.202", "equal  +0.000", "undecided, no pairs", "left is better"):
        assert words in texts
    places = {}
    for color in (BLUE, GREEN, ORANGE):
        style = rf'<use [^>]*x="([\d.]+)"[^>]*style="[^"]*{color.lower()}'
        (places[color],) = {float(x) for x in re.findall(style, svg)}
    means = {BLUE: "wang", GREEN: "same", ORANGE: "brox"}
    means = {color: table.row(label).comparison.estimate.mean for color, label in means.items()}
    slope = (places[ORANGE] - places[BLUE]) / (means[ORANGE] - means[BLUE])
    assert slope > 0 and places[GREEN] - places[BLUE] == pytest.approx(slope * (means[GREEN] - means[BLUE]), abs=0.1)


def test_the_zone_of_equality_is_named(table):
    assert "counts as equal" in _texts(forest(table))


def test_a_huge_interval_does_not_squeeze_the_others(simulate):
    study = simulate("none", "wang", "wild")
    study.write_arm("none", [3.0, 3.1, 3.2, 3.3, 3.4])
    study.write_arm("wang", [2.6, 2.71, 2.8, 2.91, 3.0])
    study.write_arm("wild", [3.0, 9.0, None, None, None])
    svg = forest(comparison_table(load_study(study.directory), METRIC))
    ticks = [float(t.replace("\u2212", "-")) for t in _texts(svg) if re.fullmatch("[\u2212-]?\\d+\\.?\\d*", t)]
    assert max(ticks) < 10  # the interval of wild reaches to 40
    assert "undecided  +2.950 +- 37.483" in _texts(svg)


def test_labels_are_text_and_not_markup_or_formulas(simulate):
    label = "<b>&x</b> $y^2$ a_b"
    study = simulate("none", label, seeds=(0, 1))
    study.write_arm("none", [3.0, 3.1])
    study.write_arm(label, [2.0, 2.2])
    svg = forest(comparison_table(load_study(study.directory), METRIC))
    assert label in _texts(svg) and "<b>" not in svg


def _curve(label, level):
    steps = np.arange(5.0)
    return Curve(
        label=label, steps=steps, mean=level - steps, low=level - steps - 0.1, high=level - steps + 0.1, seeds=3
    )


def test_curves_have_a_panel_per_quantity_and_a_line_per_arm():
    svg = curves({"loss": [_curve("none", 9), _curve("wang", 8)], METRIC: [_curve("none", 5)]}, "none")
    assert {"loss", METRIC, "training step", "none", "wang"} <= set(_texts(svg))


def test_too_many_arms_are_counted_and_the_baseline_stays():
    panel = [_curve(f"arm {k}", k) for k in range(12)] + [_curve("none", 3)]
    texts = _texts(curves({"loss": panel}, "none"))
    assert "none" in texts and any("5 more arms not drawn" in text for text in texts)
    assert sum(text.startswith("arm ") for text in texts) == 7


def test_arms_differ_in_line_style_once_the_colors_are_used_up():
    svg = curves({"loss": [_curve(f"arm {k}", k) for k in range(7)]}, "none")
    strokes = re.findall(r"stroke: (#\w+); stroke-width: 1.8|stroke-dasharray: [\d., ]+; [^\"]*stroke: (#\w+)", svg)
    assert strokes and "stroke-dasharray" in svg


def test_a_single_seed_has_a_line_and_no_band():
    nothing = np.full(5, np.nan)
    curve = Curve(label="none", steps=np.arange(5.0), mean=np.arange(5.0), low=nothing, high=nothing, seeds=1)
    ElementTree.fromstring(curves({"loss": [curve]}, "none"))


def test_an_interaction_map_marks_what_may_be_nothing():
    def effect(mean, half, verdict):
        estimate = Estimate(mean=mean, low=mean - half, high=mean + half, sd=half, n=5)
        return Comparison(arm="with", differences={}, estimate=estimate, verdict=verdict)

    one = Comparison(arm="with", differences={0: 0.125}, estimate=mean_interval([0.125]))
    found = {
        ("a",): effect(-0.5, 0.1, "helps"),
        ("b",): effect(0.02, 0.1, "undecided"),
        ("c",): Comparison(arm="with", differences={}),
        ("a", "b"): effect(0.25, 0.1, "hurts"),
        ("a", "c"): one,
    }
    texts = _texts(interaction_map(["a", "b", "c"], found, "px"))
    assert {"-0.500", "(+0.020)", "+0.250", "(+0.125)", "-"} <= set(texts)
    assert texts.count("+- 0.100") == 3


def test_a_map_of_nothing_is_still_a_figure():
    ElementTree.fromstring(interaction_map(["a", "b"], {}, "px"))


def test_tuning_names_its_axes():
    trials = {"wang": [3.0, 2.0, 4.0], "brox": [3.0]}
    texts = _texts(tuning(trials, {}, METRIC, "px"))
    assert {"wang", "brox", "trials of the search", f"expected best {METRIC}, px"} <= set(texts)
    assert "trials of the search; crosses: the arm's own setting" in _texts(tuning(trials, {"wang": 2.5}, METRIC, "px"))


def test_the_same_numbers_give_the_same_bytes(table):
    panel = {"loss": [_curve("none", 9)]}
    assert forest(table) == forest(table)
    assert curves(panel, "none") == curves(panel, "none")
    svg = forest(table)
    assert "<dc:date>" not in svg and "matplotlib.org" not in svg
