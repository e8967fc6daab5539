"""Tables of simulated studies with known effects: verdicts, cells, footnotes and renderings."""

import csv
import io

import numpy as np
import pytest

from analysis.report.footnotes import footnotes
from analysis.report.text_tables import as_csv, as_latex, as_markdown, as_text, cells
from analysis.results.load import load_study
from analysis.results.tables import comparison_table, comparison_tables
from experiments.records.json_files import write_json

METRIC = "epe/synthetic/all"
SEEDS = tuple(range(8))


def notes_of(study, table):
    return footnotes(load_study(study.directory), table)


@pytest.fixture
def known(simulate):
    """A study whose arms do what their labels say."""
    study = simulate("none", "helps", "hurts", "equal", "noisy", "diverges", seeds=SEEDS)
    generator = np.random.default_rng(7)
    seed_effect = 3.7 + 0.3 * generator.normal(size=8)  # shared by all arms: pairing must remove it
    small = 0.01 * generator.normal(size=(6, 8))
    noisy = np.array([0.4, -0.5, 0.3, -0.2, 0.6, -0.6, 0.1, -0.3])
    study.write_arm("none", list(seed_effect))
    study.write_arm("helps", list(seed_effect - 0.15 + small[1]))
    study.write_arm("hurts", list(seed_effect + 0.15 + small[2]))
    study.write_arm("equal", list(seed_effect + small[3]))
    study.write_arm("noisy", list(seed_effect + noisy))
    diverging = [v if s % 2 else "diverged" for s, v in enumerate(seed_effect - 0.5 + small[5])]
    study.write_arm("diverges", diverging)
    for label in study.labels:
        for seed in SEEDS:
            write_json(study.run(label, seed) / "cost.json", {"seconds": 40 + seed, "peak_memory_mb": 755.2})
    return study


def test_exactly_the_right_verdicts(known):
    table = comparison_table(load_study(known.directory), METRIC)
    verdicts = dict(zip(table.frame["arm"], table.frame["verdict"], strict=True))
    assert verdicts == {
        "none": "baseline",
        "helps": "helps",
        "hurts": "hurts",
        "equal": "equal",
        "noisy": "undecided",
        "diverges": "undecided",
    }


def test_the_verdicts_hold_over_many_simulations_of_files(simulate):
    # One study with no effect in any of four arms: "helps" or "hurts" may appear in 5 % of such studies.
    wrong = 0
    generator = np.random.default_rng(5)
    from analysis.results.comparison import compare
    from analysis.results.metric_kinds import metric_kind

    for _ in range(200):
        base = generator.normal(3.7, 0.3, size=6)
        arms = {"none": dict(enumerate(base))}
        arms |= {str(k): dict(enumerate(base + generator.normal(0, 0.2, size=6))) for k in range(4)}
        found = compare(arms, "none", metric_kind(METRIC))
        wrong += any(c.verdict in ("helps", "hurts") for c in found.values())
    assert wrong / 200 <= 0.09


def test_the_frame_holds_the_numbers(known):
    frame = comparison_table(load_study(known.directory), METRIC).frame.set_index("arm")
    assert list(frame.index) == list(known.labels)
    assert frame.loc["none", "baseline"] and not frame.loc["helps", "baseline"]
    assert frame.loc["helps", "delta"] == pytest.approx(-0.15, abs=0.02)
    assert frame.loc["helps", "delta_low"] < frame.loc["helps", "delta"] < frame.loc["helps", "delta_high"]
    assert frame.loc["helps", "pairs"] == 8 and frame.loc["diverges", "pairs"] == 4
    assert frame.loc["diverges", "failed"] == 4 and frame.loc["diverges", "runs"] == 8
    assert frame.loc["diverges", "statuses"] == "4 diverged"
    assert frame.loc["diverges", "mean_failures_worst"] > frame.loc["diverges", "mean"] + 0.3
    assert frame.loc["helps", "seconds"] == 43.5 and frame.loc["helps", "peak_memory_mb"] == 755.2
    assert len(frame.loc["helps", "run_ids"].split()) == 8
    assert frame["ms_per_step"].isna().all() and np.isnan(frame.loc["none", "delta"])


def test_footnotes_say_under_which_conditions(known):
    notes = "\n".join(notes_of(known, comparison_table(load_study(known.directory), METRIC)))
    assert "protocol full/1; preset short; seeds 0, 1, 2, 3, 4, 5, 6, 7; 44 runs behind the means" in notes
    assert "1 % of the baseline's mean" in notes and "Holm for 5 comparisons" in notes
    assert "diverges: 4 of 8 runs failed (4 diverged; 95 % interval 22 to 78 %); mean of completed runs" in notes
    assert "diverges: undecided: difference shown (helps) among completed runs only" in notes
    assert "partial" not in notes
    # eight seeds are enough for one comparison, not for five with Holm
    assert "smallest possible p: 0.625 with 4 pairs" in notes and "8 seeds are needed" in notes


def test_with_enough_seeds_nothing_is_flagged(simulate):
    study = simulate("none", "wang", seeds=tuple(range(6)))
    study.write_arm("none", [3.0, 3.1, 3.2, 3.3, 3.1, 3.0])
    study.write_arm("wang", [2.0, 2.1, 2.3, 2.2, 2.1, 2.1])
    table = comparison_table(load_study(study.directory), METRIC)
    assert not any(note.startswith("!") for note in notes_of(study, table)) and "!" not in cells(table)[2][5]
    assert cells(table)[2][5] == "0.0312"


def test_the_flag_follows_the_level(simulate):
    study = simulate("none", "wang", seeds=tuple(range(6)))
    study.write_arm("none", [3.0, 3.1, 3.2, 3.3, 3.1, 3.0])
    study.write_arm("wang", [2.0, 2.1, 2.3, 2.2, 2.1, 2.1])
    table = comparison_table(load_study(study.directory), METRIC, alpha=0.01)
    assert cells(table)[2][5] == "0.0312 !" and any("cannot reach 0.01 here" in note for note in notes_of(study, table))


def test_a_vanishing_percentage_has_no_minus(simulate):
    study = simulate("none", "wang", seeds=(0, 1))
    study.write_arm("none", [3.0, 3.1])
    study.write_arm("wang", [2.9999, 3.0999])
    assert cells(comparison_table(load_study(study.directory), METRIC))[2][3] == "+0.0"


def test_a_partial_study_says_so_and_shows_dashes_not_zeros(simulate):
    study = simulate("none", "wang", "later")
    study.write_arm("none", [3.0, 3.1, None, None, None])
    study.write_arm("wang", [2.0, 2.1, 2.2, None, None])
    table = comparison_table(load_study(study.directory), METRIC)
    assert notes_of(study, table)[0] == "partial: 5/15 runs"
    header, none, wang, later = cells(table)
    assert set(later[1:7]) == {"-"} and later[7] == "undecided" and later[8] == "-"
    assert "0" not in "".join(later)
    assert "later: '-' is no value: 0 of 5 runs ended, none has the metric" in notes_of(study, table)
    assert "wang: delta is over the 2 of its 3 seeds that the baseline has too" in notes_of(study, table)
    assert table.row("later").estimate is None and table.row("wang").comparison.estimate.n == 2
    assert any(note.startswith("no cost was recorded for none, wang") for note in notes_of(study, table))


def test_a_single_seed_gives_means_and_no_verdict(simulate):
    study = simulate("none", "wang", seeds=(4,))
    study.write_arm("none", [3.0])
    study.write_arm("wang", [2.0])
    table = comparison_table(load_study(study.directory), METRIC)
    row = cells(table)[2]
    assert row[1] == "2.000 (n=1)" and row[2] == "-1.000" and row[4:8] == ("-", "-", "-", "undecided")
    assert "wang: undecided: too few: 1 pair of runs" in notes_of(
        study, table
    ) and "wang: one run, so no interval" in notes_of(study, table)


def test_a_metric_that_some_runs_lack_is_named(simulate):
    study = simulate("none", "wang", seeds=(0, 1))
    study.write_arm("none", [3.0, 3.1])
    study.write("wang", 0, {METRIC: 2.0})
    study.write("wang", 1, {"epe/synthetic/noc": 1.0})
    table = comparison_table(load_study(study.directory), METRIC)
    assert f"wang: no {METRIC} in the runs of seed 1" in notes_of(study, table) and table.row("wang").estimate.n == 1


def test_no_record_at_all_is_a_table_of_dashes(simulate):
    study = simulate("none", "wang")
    table = comparison_table(load_study(study.directory), METRIC)
    assert table.margin is None and notes_of(study, table)[0] == "partial: 0/10 runs"
    assert as_text(table) and as_markdown(table) and as_latex(table) and as_csv(table)


def test_left_out_files_are_footnotes_and_not_averaged(known):
    (known.run("helps", 3) / "result.json").write_text("{")
    table = comparison_table(load_study(known.directory), METRIC)
    assert table.row("helps").estimate.n == 7 and 3 not in table.row("helps").run_ids
    assert (
        known.run_name("helps", 3) in notes_of(known, table)[-1] and notes_of(known, table)[0] == "partial: 47/48 runs"
    )


def test_frames_give_the_interval_over_seeds_and_frames(simulate):
    study = simulate("none", "wang", seeds=(0, 1, 2))
    generator = np.random.default_rng(0)
    frames = generator.gamma(2, 1, size=(2, 3, 12))
    for index, label in enumerate(study.labels):
        for seed in study.seeds:
            row = (*map(float, frames[index, seed]), None)
            study.write(label, seed, float(frames[index, seed].mean()), frames={METRIC: row})
    table = comparison_table(load_study(study.directory), METRIC)
    crossed = table.row("wang").crossed
    assert (crossed.seeds, crossed.frames) == (3, 12)
    assert crossed.mean == pytest.approx(table.row("wang").comparison.estimate.mean)
    assert any(note.startswith("seeds x frames") for note in notes_of(study, table))
    study.edit("wang", 1, lambda content: content["frames"].update({METRIC: [1.0]}))
    assert comparison_table(load_study(study.directory), METRIC).row("wang").crossed is None


def test_the_text_is_aligned_and_fits_the_terminal(known):
    table = comparison_table(load_study(known.directory), METRIC)
    text = as_text(table, notes_of(known, table))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 120 and text.isascii()
    for start in (i for i, line in enumerate(lines) if line.startswith("---")):
        gaps = [c for c, sign in enumerate(lines[start]) if sign == " "]
        for line in lines[start - 1 : start + 7]:
            padded = line.ljust(len(lines[start]))
            assert all(padded[c] == " " for c in gaps), line


def test_long_labels_are_wrapped_and_not_cut(simulate):
    label = "census + wang + edge-aware second order + cost-volume normalization + resized self-supervision"
    study = simulate("none", label, seeds=(0, 1))
    study.write_arm("none", [3.0, 3.1])
    study.write_arm(label, [2.0, 2.2])
    table = comparison_table(load_study(study.directory), METRIC)
    text = as_text(table, notes_of(study, table))
    assert max(map(len, text.splitlines())) <= 120
    first = [line[:28].strip() for line in text.split("\n\n")[1].splitlines()[3:]]
    assert " ".join(first) == label


def test_markdown_is_a_table_with_its_notes(known):
    table = comparison_table(load_study(known.directory), METRIC)
    lines = as_markdown(table, notes_of(known, table)).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 2 + 6 and len({row.count("|") for row in rows}) == 1
    assert "±" in rows[2] and sum(line.startswith("- ") for line in lines) >= 5


def test_the_p_values_shown_are_the_adjusted_ones(simulate):
    study = simulate("none", "a", "b", "c")
    study.write_arm("none", [3.0, 3.1, 2.9, 3.05, 2.95])
    study.write_arm("a", [2.8, 3.05, 2.6, 3.03, 2.7])
    table = comparison_table(load_study(study.directory), METRIC)
    comparison = table.row("a").comparison
    assert comparison.p_adjusted == pytest.approx(3 * comparison.p)
    assert cells(table)[2][4] == f"{comparison.p_adjusted:.4f}" and cells(table)[2][5] == "0.1875 !"


def test_csv_holds_full_precision(known):
    table = comparison_table(load_study(known.directory), METRIC)
    rows = list(csv.DictReader(io.StringIO(as_csv(table))))
    assert [row["arm"] for row in rows] == list(known.labels)
    assert float(rows[1]["delta"]) == table.row("helps").comparison.estimate.mean
    assert rows[0]["delta"] == "" and rows[1]["ms_per_step"] == ""


def test_labels_cannot_break_markdown_or_latex(simulate):
    label = r"a|b_c & 50% $x$ {y} #1 \end{table} <b> [l](u)"
    study = simulate("none", label, seeds=(0, 1))
    study.write_arm("none", [3.0, 3.1])
    study.write_arm(label, [2.0, 2.2])
    table = comparison_table(load_study(study.directory), METRIC)
    latex = as_latex(table, notes_of(study, table))
    assert r"a$|$b\_c \& 50\% \$x\$ \{y\} \#1 \textbackslash{}end\{table\} $<$b$>$" in latex
    assert latex.count(r"\end{table}") == 1
    row = next(line for line in as_markdown(table).splitlines() if "50%" in line)
    assert row.replace("\\|", "").count("|") == 16 and "<b>" not in row.replace("\\<", "")


def test_narrow_intervals_get_more_digits(simulate):
    study = simulate("none", "wang", seeds=(0, 1, 2))
    study.write_arm("none", [3.0, 3.0, 3.0])
    study.write_arm("wang", [3.00001, 3.00002, 3.00001])
    assert cells(comparison_table(load_study(study.directory), METRIC))[2][2].startswith("+0.00001")


def test_the_deciding_table_and_the_others_are_two_families(simulate):
    kinds = ("all", "noc", "occ")
    metrics = tuple(f"epe/synthetic/{kind}" for kind in kinds)
    study = simulate("none", "wang", "brox", metrics=metrics)
    shift = {"none": [0.0] * 5, "wang": [-0.2, -0.05, -0.3, -0.02, -0.25], "brox": [0.3, -0.2, 0.1, -0.3, 0.1]}
    for label in study.labels:
        for seed in study.seeds:
            study.write(label, seed, dict.fromkeys(metrics, 3.0 + 0.1 * seed + shift[label][seed]))
    tables = comparison_tables(load_study(study.directory), metrics)
    alone = tables[0].row("wang").comparison.p
    assert [t.row("wang").comparison.p_adjusted for t in tables] == pytest.approx([2 * alone, 4 * alone, 4 * alone])
    assert "adjusted by Holm for 2 comparisons of this table, level 0.05" in " ".join(notes_of(study, tables[0]))
    family = "the 4 comparisons of epe/synthetic/noc and epe/synthetic/occ together; epe/synthetic/all decides"
    assert [f.name for t in tables[1:] for f in t.families] == [family, family]
    assert all(family in " ".join(notes_of(study, table)) for table in tables[1:])


def test_failures_are_evidence_in_the_deciding_table_only(simulate):
    metrics = ("epe/synthetic/all", "epe/synthetic/occ")
    study = simulate("none", "wang", metrics=metrics, seeds=SEEDS)
    for seed in SEEDS:
        study.write("none", seed, dict.fromkeys(metrics, 3.0 + 0.1 * seed))
        study.write("wang", seed, None, status="collapsed")
    deciding, other = comparison_tables(load_study(study.directory), metrics)
    assert deciding.row("wang").comparison.verdict == "hurts" and deciding.row("wang").alpha == 0.025
    assert other.row("wang").comparison.reason == "too few: 0 pairs of runs; 8 failed"
    assert other.row("wang").alpha == 0.05
