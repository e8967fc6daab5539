"""What each part of a factorial is worth: numbers by hand, families, failed runs, and how often it errs."""

import itertools
import json
import math

import numpy as np
import pytest

from analysis.report.footnotes import footnotes
from analysis.report.write import write_report
from analysis.results.contrasts import part_effects
from analysis.results.effects import ADDED, ALL_PARTS, INTERACTION, LEFT_OUT, MAIN, SHAPLEY
from analysis.results.factorial import cells, find_factorial, in_percent, interaction, main_effect, shapley
from analysis.results.load import load_study
from analysis.results.tables import comparison_table
from analysis.statistics.crossed import crossed_p
from analysis.statistics.multiplicity import holm
from experiments.records.json_files import write_json
from studies.design import factorial

ALL = "epe/synthetic/all"
DIVERGED = "diverged"
TWO, THREE, FIVE = (
    tuple(names) for names in ("vu", "cab", ("v", "w", "x", "y", "z"))
)  # not all in the alphabet's order


@pytest.fixture
def study_of(simulate):
    """`study_of(parts, value)`: a factorial; `value(cell, seed)` is a number, an array over frames, or `DIVERGED`."""

    def make(parts, value, seeds=(0, 1, 2), only=None, name="what"):
        arms = [
            arm
            for arm in factorial({part: ({f"{part}.name": "none"}, {f"{part}.name": "on"}) for part in parts})
            if only is None or only(arm.label)
        ]
        changes = {arm.label: dict(arm.changes) for arm in arms}
        study = simulate(*changes, changes=changes, baseline="full", seeds=seeds, name=name)
        plan = study.plan()
        for row, arm in zip(plan["arms"], arms, strict=True):
            row |= {"against": arm.against} if arm.against else {}
        write_json(study.directory / "plan.json", plan)
        for arm, seed in itertools.product(arms, seeds):
            found = value(tuple(int(arm.changes[f"{part}.name"] == "on") for part in parts), seed)
            if isinstance(found, str):
                study.write(arm.label, seed, None, status=found)
            elif found is not None:
                frames = {} if np.ndim(found) == 0 else {ALL: tuple(map(float, found))}
                study.write(arm.label, seed, float(np.mean(found)), frames=frames)
        return study

    return make


def effects_of(study, alpha=0.05):
    data = load_study(study.directory)
    return part_effects(data, find_factorial(data.plan), ALL, alpha)


def means(found, measure):
    return {c.parts: round(c.comparison.estimate.mean, 9) for c in found.of(measure)}


#        u off  u on
# v off    10     8
# v on      9     4      interaction (4 - 9) - (8 - 10) = -3
BY_HAND = {(0, 0): 10.0, (0, 1): 8.0, (1, 0): 9.0, (1, 1): 4.0}


def test_two_parts_by_hand(study_of):
    # whatever a seed and a frame have in common for all arms cancels
    frames = np.array([-1.0, 0.5, 0.5])
    found = effects_of(study_of(TWO, lambda cell, seed: BY_HAND[cell] + 10.0 * seed + frames))
    v, u = ("v on",), ("u on",)
    assert means(found, LEFT_OUT) == {u: -5, v: -4} and means(found, ADDED) == {u: -2, v: -1}
    assert means(found, ALL_PARTS) == {(): -6}
    assert means(found, SHAPLEY) == {u: -3.5, v: -2.5} == means(found, MAIN)
    assert means(found, INTERACTION) == {(*u, *v): -3}
    assert {c.comparison.frames for c in found.contrasts} == {3}
    assert {c.verdict for c in found.contrasts} == {"helps", "reinforce"}
    assert all(c.crossed.low == pytest.approx(c.comparison.estimate.mean) for c in found.contrasts)


def test_a_product_of_three_by_hand_in_the_order_of_the_study(study_of):
    found = effects_of(study_of(THREE, lambda cell, seed: 9.0 + seed - 6.0 * math.prod(cell)))
    each = [(part,) for part in THREE]
    assert found.parts == THREE and [c.parts for c in found.of(SHAPLEY)] == each
    assert means(found, SHAPLEY) == dict.fromkeys(each, -2)
    assert means(found, LEFT_OUT) == dict.fromkeys(each, -6)  # each takes all of it: they do not add up
    assert means(found, ADDED) == dict.fromkeys(each, 0)
    assert means(found, MAIN) == dict.fromkeys(each, -1.5)
    assert means(found, INTERACTION) == dict.fromkeys(itertools.combinations(THREE, 2), -3)
    assert [c.verdict for c in found.of(ADDED)] == ["equal"] * 3


def noisy(cell, seed, effects=(-0.5, -0.1, 0.0, 0.3, 0.0), rate=0.0):
    random = np.random.default_rng([seed, *cell])
    value = 3 + 0.4 * np.random.default_rng(seed).normal() + float(np.dot(effects, cell)) + 0.05 * random.normal()
    return DIVERGED if random.random() < rate else value + 0.1 * random.normal(size=6)


def is_direction(label):
    return "+" not in label


def test_both_directions_have_the_numbers_of_the_table_however_many_settings_were_run(study_of):
    some = study_of(FIVE, noisy, seeds=range(6), only=is_direction, name="some")
    every = study_of(FIVE, noisy, seeds=range(6), name="every")
    found, more = effects_of(some), effects_of(every)
    data = load_study(every.directory)
    table = comparison_table(data, ALL)
    for contrast, other in zip(found.contrasts, more.contrasts[: len(found.contrasts)], strict=True):
        assert contrast.comparison == other.comparison
        label = {LEFT_OUT: "no ", ADDED: "only ", ALL_PARTS: "nothing"}[contrast.measure] + "".join(contrast.parts)
        row = table.row(label)
        one, turned = row.comparison, contrast.measure != ADDED
        assert row.reference == ("nothing" if contrast.measure == ADDED else "full")
        for name in ("p", "p_adjusted", "p_equal_adjusted", "margin"):
            assert getattr(one, name) == pytest.approx(getattr(contrast.comparison, name), rel=1e-6, abs=1e-12)
        assert one.estimate.mean * (-1 if turned else 1) == pytest.approx(contrast.comparison.estimate.mean)
        swapped = {"helps": "hurts", "hurts": "helps"} if turned else {}
        assert swapped.get(one.verdict, one.verdict) == contrast.verdict
    assert [(len(family.labels), family.alpha) for family in table.families] == [(11, 0.05), (20, 0.05)]
    family = "the 11 comparisons of this table in which one part is switched, or all, level 0.05"
    assert family in " ".join(footnotes(data, table))


def test_each_measure_is_a_family_and_the_two_directions_are_one(study_of):
    found = effects_of(study_of(FIVE, noisy, seeds=range(6)))
    assert found.measures == (LEFT_OUT, ADDED, ALL_PARTS, SHAPLEY, MAIN, INTERACTION)
    for family, size in (((LEFT_OUT, ADDED, ALL_PARTS), 11), ((SHAPLEY,), 5), ((MAIN,), 5), ((INTERACTION,), 10)):
        own = [contrast.comparison for name in family for contrast in found.of(name)]
        assert len(own) == size and [c.p_adjusted for c in own] == list(holm([c.p for c in own]))
        assert any(f"the {size} of {', '.join(family)}, level 0.05" in note for note in found.notes)


def test_without_all_settings_nothing_is_called_an_average_and_the_page_says_so_at_its_head(study_of):
    study = study_of(FIVE, noisy, only=is_direction)
    report = write_report(study.directory)
    assert report.parts.measures == (LEFT_OUT, ADDED, ALL_PARTS)
    page = report.paths["report.html"].read_text()
    words = " ".join(page[: page.index("<h2>Arms</h2>")].split())
    assert "need all 32 settings of the parts, of which 12 are planned; --arms all plans the others" in words
    assert "interactions" not in report.files and "<th>Shapley value</th>" not in page
    assert "12 are planned (--arms all plans the others)" in " ".join(report.text.split())
    plain = json.loads(report.files["effects.json"])["parts"]
    assert [c["label"] for c in plain["contrasts"]] == [*FIVE, *FIVE, "all together"]


def fails_once(cell, seed):
    return DIVERGED if (cell, seed) == ((1, 0), 1) else BY_HAND[cell] + seed


def test_a_failed_run_counts_as_the_worst_completed_run_of_its_seed_and_the_whole_seeds_stand_beside(study_of):
    found = effects_of(study_of(TWO, fails_once, seeds=range(4)))
    assert found.seeds == (0, 1, 2, 3) and found.whole == (0, 2, 3) and found.filled == {"no u": (1,)}
    # in seed 1 the failed run, 9 + 1, counts as the worst completed one, 10 + 1
    shapley_v = {c.parts[0]: c for c in found.of(SHAPLEY)}["v on"]
    assert shapley_v.comparison.differences == pytest.approx({0: -2.5, 1: (-4 + 0) / 2, 2: -2.5, 3: -2.5})
    assert shapley_v.whole.differences == pytest.approx({0: -2.5, 2: -2.5, 3: -2.5})
    assert shapley_v.whole.verdict == "helps"
    (pair,) = found.of(INTERACTION)
    assert pair.comparison.differences == pytest.approx({0: -3, 1: (4 - 10) - (8 - 10), 2: -3, 3: -3})
    # nothing is filled in where two arms are compared
    alone = {c.parts[0]: c.comparison for c in found.of(ADDED)}["v on"]
    assert sorted(alone.differences) == [0, 2, 3] and alone.failed_alone == (1,)
    (note,) = [note for note in found.notes if note.startswith("failed runs, averages")]
    assert "1 of the 16 runs of their 4 seeds failed" in note and "no u (seed 1)" in note
    assert note.endswith("beside it the same over the whole seeds, in which none failed: 3")


def test_a_filled_run_has_the_worst_runs_value_in_every_frame(study_of):
    def value(cell, seed):
        found = fails_once(cell, seed)
        return found if isinstance(found, str) else found + np.array([-1.0, 0.0, 1.0]) * (1 + cell[1])

    found = effects_of(study_of(TWO, value, seeds=range(4)))
    assert {c.comparison.frames for c in found.of(SHAPLEY)} == {3}


def test_with_every_twentieth_run_failing_no_seed_is_lost(study_of):
    study = study_of(FIVE, lambda cell, seed: noisy(cell, seed, rate=0.05), seeds=range(6))
    found = effects_of(study)
    gone = sum(map(len, found.filled.values()))
    assert 5 <= gone <= 15 and len(found.whole) < 3
    averages = [c for c in found.contrasts if c.measure in (SHAPLEY, MAIN, INTERACTION)]
    assert len(averages) == 20 and all(len(c.comparison.differences) == 6 for c in averages)
    assert {c.parts[0]: c.verdict for c in found.of(SHAPLEY)}["v"] == "helps"
    sums = [sum(c.comparison.differences[seed] for c in found.of(SHAPLEY)) for seed in found.seeds]
    full, nothing = (load_study(study.directory).values(label, ALL) for label in ("full", "nothing"))
    both = [seed for seed in found.seeds if seed in full and seed in nothing]
    assert [sums[seed] for seed in both] == pytest.approx([full[seed] - nothing[seed] for seed in both])
    page = write_report(study.directory).paths["report.html"].read_text()
    assert f"Failed runs in the averages over all settings: {gone}, each of which counts as the worst" in page


def test_a_seed_with_a_run_that_has_not_ended_is_left_out_of_the_averages_only(study_of):
    waits = lambda cell, seed: None if (cell, seed) == ((1, 0), 3) else BY_HAND[cell] + seed  # noqa: E731
    found = effects_of(study_of(TWO, waits, seeds=range(4)))
    assert found.seeds == (0, 1, 2) and not found.filled
    assert {len(c.comparison.differences) for c in found.of(MAIN)} == {3}
    assert [len(c.comparison.differences) for c in found.of(ALL_PARTS)] == [4]
    assert any(note.startswith("averages over all settings leave out seed 3") for note in found.notes)


def test_effects_between_kinds_of_data_are_in_percent(simulate):
    """Errors grow with the motion, three times each; the mask takes a tenth of both, so nothing interacts."""
    settings = {
        f"{mask} {kind}": {"occlusion.name": mask, "data.scenes.motion": motion}
        for kind, motion in (("slow", 1.0), ("fast", 3.0))
        for mask in ("none", "wang")
    }
    study = simulate(*settings, changes=settings)
    plan = study.plan()
    for arm in plan["arms"]:
        arm["against"] = f"none {arm['label'].split()[1]}"
    write_json(study.directory / "plan.json", plan)
    for (label, change), seed in itertools.product(settings.items(), study.seeds):
        value = (1 + 0.1 * seed) * change["data.scenes.motion"] * (0.9 if "wang" in label else 1.0)
        study.write(label, seed, value, frames={ALL: (value, value)})
    assert in_percent(load_study(study.directory).plan)
    found = effects_of(study)
    assert means(found, INTERACTION) == {("occlusion wang", "data scenes.motion 3.0"): 0}
    assert means(found, MAIN)["occlusion wang",] == pytest.approx(100 * math.log(0.9))
    assert found.kind.unit == "% (100 ln)" and {c.comparison.frames for c in found.contrasts} == {None}
    # 1 of 100 ln is what matters, whatever the values are
    assert {c.comparison.margin for c in found.contrasts} == {1.0}
    page = write_report(study.directory).paths["report.html"].read_text()
    assert "with the part minus without it, % (100 ln)" in page


RULES = {SHAPLEY: shapley, MAIN: main_effect}


def matrices(values, measure, k):
    """The contrasts (effects, ..., seeds, frames) of a measure from values (cells, ..., seeds, frames)."""
    pairs = itertools.combinations(range(k), 2)
    weights = [RULES[measure](i, k) for i in range(k)] if measure in RULES else [interaction(*p, k) for p in pairs]
    return np.stack([sum(w[cell] * values[place] for place, cell in enumerate(cells(k))) for w in weights])


def with_failures_filled(values, random, rate):
    """Values (cells, studies, seeds, frames), those of a share of the runs being those of the worst other run."""
    failed = random.random(values.shape[:3]) < rate
    score = np.where(failed, -np.inf, values.mean(-1))
    worst = np.take_along_axis(values, score.argmax(0)[None, :, :, None], axis=0)
    return np.where(failed[..., None], worst, values)


def test_p_values_are_those_of_the_contrast_over_seeds_and_frames(study_of):
    order = dict(zip(cells(3), np.random.default_rng(1).normal(3, 0.3, (8, 5, 6)), strict=True))
    found = effects_of(study_of(THREE, lambda cell, seed: order[cell][seed], seeds=range(5)))
    values = np.stack([order[cell] for cell in cells(3)])
    for measure in (SHAPLEY, MAIN, INTERACTION):
        own = [c.comparison for c in found.of(measure)]
        assert len(own) == 3
        expected = crossed_p(matrices(values, measure, 3))
        assert [c.p for c in own] == pytest.approx(np.maximum(expected, [c.p_seeds for c in own]))
        assert {c.frames for c in own} == {6} and any(c.p > c.p_seeds for c in own)


@pytest.mark.parametrize("rate", [0.0, 0.05])
@pytest.mark.parametrize("measure", [SHAPLEY, MAIN, INTERACTION])
def test_without_any_effect_a_family_errs_in_at_most_one_study_of_twenty(measure, rate):
    """Seeds and frames differ for all arms alike, and each arm differs by itself; no part does anything."""
    random = np.random.default_rng(2)
    count, seeds, frames, k = 600, 6, 12, 3
    shared = random.normal(size=(1, count, seeds, 1)) + random.normal(size=(1, count, 1, frames))
    own = 0.3 * random.normal(size=(8, count, seeds, 1)) + 0.3 * random.normal(size=(8, count, seeds, frames))
    by_frame = 0.1 * random.normal(size=(8, count, 1, frames))
    p = crossed_p(matrices(with_failures_filled(3 + shared + own + by_frame, random, rate), measure, k))
    errs = (p.min(0) * len(p) <= 0.05).mean()  # Holm rejects something if and only if it rejects the smallest
    assert errs <= 0.05 + 3 * (0.05 * 0.95 / count) ** 0.5


def test_a_plan_that_names_no_references_has_both_directions_too(study_of):
    study = study_of(FIVE, noisy, seeds=range(4), only=is_direction)
    expected = effects_of(study).contrasts
    write_json(study.directory / "plan.json", study.plan())  # as plans were stored before
    assert effects_of(study).contrasts == expected
    assert {row.reference for row in comparison_table(load_study(study.directory), ALL).rows} == {"full"}
