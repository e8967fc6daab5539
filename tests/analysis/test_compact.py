"""Results without their runs: the same tables, byte for byte, from what is kept in one small file a study."""

import gzip
import json

import numpy as np
import pytest

from analysis import compact, ledger
from analysis.paper.overview import overview
from analysis.report.ledger_page import as_text
from analysis.report.write import make_report
from analysis.results.load import load_study
from experiments.records.json_files import write_json

ALL, OCC = "epe/synthetic/all", "epe/synthetic/occ"
SEEDS = (0, 1, 2, 3)


@pytest.fixture
def out(simulate):
    """A study with everything that a table is made of, a run that is missing and one that failed twice."""
    study = simulate("none", "wang", "brox", seeds=SEEDS, metrics=(ALL, OCC))
    random = np.random.default_rng(0)
    plan = study.plan() | {"gate": {"metric": ALL, "step": 50, "limit": 2.0}, "notes": ["a note"], "alpha": 0.04}
    write_json(study.directory / "plan.json", plan)
    for label, effect in (("none", 0.0), ("wang", -0.3), ("brox", 0.1)):
        for seed in SEEDS:
            frames = {
                name: tuple(None if number == 2 and name == OCC else float(v) for number, v in enumerate(row))
                for name, row in zip((ALL, OCC), 3 + effect + 0.1 * random.standard_normal((2, 7)), strict=True)
            }
            means = {name: float(np.mean([v for v in row if v is not None])) for name, row in frames.items()}
            if (label, seed) == ("brox", 3):
                continue
            failed = (label, seed) == ("wang", 1)
            status = {"status": "diverged"} if failed else {"frames": frames}
            run = study.write(label, seed, {} if failed else means, **status)
            cost = {"seconds": 10.0 + seed / 3, "peak_memory_mb": 500.5, "ms_per_step": 7.25, "host": "secret"}
            write_json(run / "cost.json", cost | {"code": {"version": "0.1.0", "commit": "abc"}})
            curve = [{"step": 10, "total": 1.0}, {"step": 50, "total": 0.5, f"validation/{ALL}": 1.0 + (seed == 2)}]
            curve[1][f"validation/{ALL}"] += 0.1
            (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in curve))
    attempt = study.run("wang", 1) / "attempts" / "01"
    attempt.mkdir(parents=True)
    (attempt / "result.json").write_bytes((study.run("wang", 1) / "result.json").read_bytes())
    return study.out


def kept(out, capsys):
    to = out.parent / "kept"
    assert compact.main([str(out), "--to", str(to)]) == 0, capsys.readouterr()
    return to


def test_every_table_comes_out_byte_for_byte_as_from_the_runs(out, capsys):
    to = kept(out, capsys)
    assert sorted(path.name for path in (to / "occlusion_ablation").iterdir()) == ["plan.json", "runs.jsonl.gz"]
    one, other = (make_report(folder / "occlusion_ablation") for folder in (out, to))
    assert one.notes[0] == other.notes[0] and any("attempt 2; earlier: diverged" in note for note in one.notes[0])
    assert load_study(to / "occlusion_ablation").gating.left_out == {2: 2.1}
    same = {name for name in one.files if one.files[name] == other.files.get(name)}
    assert same >= set(one.files) - {"curves.svg", "report.html"} and {f"table_epe_synthetic_{k}.csv" for k in
                                                                       ("all", "occ")} <= same  # fmt: skip
    assert (one.text, one.description) == (other.text, other.description)
    assert "validation/" in other.files["curves.svg"] and "total" not in other.files["curves.svg"]


def test_the_ledger_reads_what_was_kept(out, capsys):
    to = kept(out, capsys)
    texts = [as_text(overview(folder)).replace(str(folder), "OUT") for folder in (out, to)]
    assert texts[0] == texts[1] and "wang - none" in texts[0]


def test_what_was_kept_can_be_kept_again_to_the_same_bytes_and_names_no_machine(out, capsys):
    to = kept(out, capsys)
    assert compact.main([str(to), "--to", str(out.parent / "again")]) == 0
    name = "occlusion_ablation/runs.jsonl.gz"
    assert (to / name).read_bytes() == (out.parent / "again" / name).read_bytes()
    lines = [json.loads(line) for line in gzip.decompress((to / name).read_bytes()).splitlines()]
    assert len(lines) == 11 and b"secret" not in gzip.decompress((to / name).read_bytes())
    assert {line["cost"]["code"]["commit"] for line in lines} == {"abc"}
    assert all(line["result"]["spec"]["seed"] in SEEDS for line in lines)


def test_a_result_that_is_damaged_is_not_left_out_silently(out, capsys):
    path = next(out.glob("runs/*/result.json"))
    path.write_text(path.read_text()[:-50])
    assert compact.main([str(out), "--to", str(out.parent / "kept")]) == 2
    assert f"{path}: not valid JSON" in capsys.readouterr().err
    assert not (out.parent / "kept" / "occlusion_ablation" / "plan.json").exists()


@pytest.mark.parametrize("damage", [lambda b: b[:-30], lambda b: b[:200] + bytes(60) + b[260:]], ids=["cut", "zeroed"])
def test_a_kept_file_that_is_damaged_is_named(out, capsys, damage):
    path = kept(out, capsys) / "occlusion_ablation" / "runs.jsonl.gz"
    path.write_bytes(damage(path.read_bytes()))
    assert ledger.main([str(out.parent / "kept")]) == 0
    assert f"left out: {path}: not the kept runs of a study" in " ".join(capsys.readouterr().out.split())


def test_a_study_that_has_not_begun_keeps_no_other_from_being_kept(out, simulated_study, capsys):
    simulated_study(out, ("full", "bare"), name="another")
    to = kept(out, capsys)
    assert "another: none of its runs has ended\n" in capsys.readouterr().out
    assert [path.name for path in to.iterdir()] == ["occlusion_ablation"]
    for path in out.glob("runs/*/result.json"):
        path.unlink()
    assert compact.main([str(out), "--to", str(out.parent / "none")]) == 2
    assert f"{out}: no run of its studies has ended" in capsys.readouterr().err and not (out.parent / "none").exists()


@pytest.mark.parametrize("to, message", [("out", "is the directory of the runs itself"), ("x", "no study in it")])
def test_what_cannot_be_kept_is_refused(out, capsys, to, message):
    asked = out if to == "out" else out.parent
    assert compact.main([str(asked), "--to", str(out.parent / to)]) == 2
    assert message in capsys.readouterr().err and not (out.parent / "x").exists()
