"""The command line: what it refuses, how it answers, and what it never does before it is sure."""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap

import pytest

from analysis import compact
from analysis.statistics.power import smallest_detectable
from experiments.records import json_files, locks, search
from studies import run
from studies.cli.arguments import resumed
from studies.planning import catalog, plan_store
from studies.planning.detectable import detectable
from studies.planning.planner import PlanRequest, make
from studies.presets import PRESETS
from studies.queue.endings import CannotRun
from studies.search import tuning

ROOT = pathlib.Path(__file__).parents[3]
SMOKE = ["--preset", "smoke", "--tracking-uri", "none"]


@pytest.fixture
def at(tmp_path, monkeypatch):
    """Runs commands in an empty directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answered(words, capsys):
    code = run.main(words)
    shown = capsys.readouterr()
    return code, shown.out, shown.err


BROKEN = """
from studies.design import Arm, Study
STUDY = Study(name="mine", question="?", baseline="nine", arms=(Arm("a", {}), Arm("a", {})), metric="p x")
"""
WRONG = """
from studies.design import Arm, Study
STUDY = Study(name="mine", question="?", baseline="a", arms=(
    Arm("a", {}), Arm("b", {"occlusion.name": "brix"}), Arm("c", {"train.stps": 3}), Arm("d", {"selfsup.name": "none"}),
))
"""


@pytest.mark.parametrize(
    "content, words, messages",
    [
        (BROKEN, [], ["label 'a' is used by more than one arm", "baseline 'nine' is not an arm", "metric 'p x' must"]),
        (WRONG, [], ["arm 'b': unknown occlusion component 'brix'; did you mean 'brox'?",
                     "arm 'c': unknown option 'train.stps'; did you mean 'train.steps'?",
                     "arms 'a' and 'd' are the same experiment"]),
        (WRONG, ["--seeds", "x", "--workers", "2000", "--preset", "smoke", "--set", "train.steps"],
         ["--seeds must be a number", "--workers must be a whole number in [0, 1024]", "form key=value",
          "component 'brix'"]),
        (WRONG, ["--preset", "smok", "--devices", "TPU"],
         ["unknown preset 'smok'; did you mean 'smoke'?", "--device must be auto"]),
        ("STUDY = Study(", [], ["SyntaxError: '(' was never closed (mine.py, line 1)"]),
        ("import nothing_like_it", [], ["No module named 'nothing_like_it'"]),
    ],
)  # fmt: skip
def test_everything_wrong_is_said_at_once_and_nothing_is_written(at, capsys, content, words, messages):
    (at / "mine.py").write_text(content)
    code, out, err = answered(["./mine.py", *words], capsys)
    assert code == 2 and out == "" and "Traceback" not in err
    for message in messages:
        assert message in err
    assert all(line.startswith("studies.run: ") for line in err.splitlines())
    assert os.listdir(at) == ["mine.py"]


@pytest.mark.parametrize(
    "words, message",
    [
        ([], "which study? one of"),
        (["oclusion_ablation"], "unknown study 'oclusion_ablation'; did you mean 'occlusion_ablation'?"),
        (["occlusion_ablation", "--add-seeds", "2"], "adds to a study that was planned before"),
        (["occlusion_ablation", "--add-seeds", "2", "--seeds", "3"], "does not go with --seeds"),
        (["occlusion_ablation", "--until-decided", "2"], "must be more than the 8 seeds to start with"),
        (["occlusion_ablation", "--arms", "wang,brix,wnag"], "no arm 'brix'; did you mean"),
        (["occlusion_ablation", "--arms", "wang,brix,wnag"], "no arm 'wnag'; did you mean 'wang'"),
        (["occlusion_ablation", "--status"], "nothing of this study was planned"),
        (["occlusion_ablation", "--report-only"], "not a study"),
        (["occlusion_ablation", "--worker"], "--worker: nothing of occlusion_ablation was planned in"),
        (["occlusion_ablation", "--preset", "paper"], "needs a GPU or Ascend"),
        (["occlusion_ablation", "--set", "seed=3"], "seeds of a study are given with --seeds"),
        (["occlusion_ablation", "--set", "network.levels=6"], "arm 'none': data.height 64 is"),
    ],
)
def test_bad_words_are_refused_and_nothing_is_written(at, capsys, words, message):
    code, out, err = answered(words, capsys)
    assert code == 2 and message in err and out == "" and os.listdir(at) == []


def test_a_worker_may_join_a_search_which_has_begun_and_has_no_plan(at, capsys):
    folder = at / "results" / "smoke" / "occlusion_ablation_search3"
    folder.mkdir(parents=True)
    (folder / "tuning.lock").touch()
    words = ["occlusion_ablation", "--search", "3", *SMOKE, "--worker", "--workers", "1", "--wait", "0"]
    code, _, err = answered(words, capsys)
    assert code == 2 and "no run of occlusion_ablation_search3 came within 0 s" in err


def test_a_search_is_shown_planned_and_refused_by_its_plan(at, finish, capsys):
    study = dataclasses.replace(catalog.load("occlusion_ablation"), name="occlusion_ablation_search3")
    asked = PlanRequest(preset=PRESETS["smoke"], seeds=(0, 1))
    words = ["occlusion_ablation", "--search", "3", *SMOKE, "--out", str(at)]
    (at / study.name).mkdir()
    (at / study.name / "tuning.lock").touch()
    trials = {"none": (search.Trial(number=0, changes={}, run="r", state="completed", value=1.0),)}
    search.write(at / study.name / "search.json", "m", 3, trials, {}, {"none": {"x": 1}})
    code, text, _ = answered([*words, "--status"], capsys)
    assert code == 0 and "is in its search; trials of whole rounds that ended: 1 of none" in text
    tuned = tuning.chosen(dataclasses.replace(study, searched=study.labels, trials=3), {
        "wang": (search.Trial(number=0, changes={"train.learning_rate": 1e-3}, run="r", state="completed", value=1.0),)
    })  # fmt: skip
    plan = make(tuned, asked)
    finish(plan, at, lambda arm, seed: 1.0)
    plan_store.write(plan, at, plan.plain())
    assert answered([*words, "--plan"], capsys)[0] == 0
    before = sorted(at.rglob("*"))
    code, out, err = answered([*words, "--set", "train.steps=30"], capsys)
    assert code == 2 and "was planned with --set, --data or --eval (none), now it is train.steps=30" in err
    assert sorted(at.rglob("*")) == before and out == ""


def test_nothing_takes_the_signals_before_there_is_work_to_be_saved(at, monkeypatch):
    def make(*_):
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        raise KeyboardInterrupt

    monkeypatch.setattr("studies.planning.planner.make", make)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a command of another test may have taken it
    for words in ([], ["--search", "2"], ["--until-decided", "5"]):
        assert run.main(["occlusion_ablation", *SMOKE, *words]) == 130
    assert os.listdir(at) == []


def test_words_that_exclude_each_other_are_refused_by_the_parser(at, capsys):
    with pytest.raises(SystemExit) as stopped:
        run.main(["occlusion_ablation", "--plan", "--status"])
    assert stopped.value.code == 2 and "not allowed with" in capsys.readouterr().err


def test_a_second_value_without_its_flag_is_refused_with_what_it_needs(at, capsys):
    with pytest.raises(SystemExit) as stopped:
        run.main(["occlusion_ablation", "--plan", "--set", "train.steps=9", "train.batch_size=2"])
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and "train.batch_size=2; every KEY=VALUE needs a --set of its own" in said


def test_the_list_is_the_same_as_text_and_as_json(at, capsys):
    code, text, _ = answered(["--list"], capsys)
    found = json.loads(answered(["--list", "--json"], capsys)[1])
    campaigns = [entry for entry in found if "campaign" in entry]
    studies = found[: len(found) - len(campaigns)]
    assert code == 0 and [study["study"] for study in studies] == list(catalog.names())
    assert [campaign["campaign"] for campaign in campaigns] == list(catalog.campaigns())
    assert all(f"a campaign of: {', '.join(c['studies'])}" in text and c["question"] in text for c in campaigns)
    for study in studies:
        assert study["question"] in text and set(study["core"]) <= set(study["arms"])
    flat = " ".join(text.split())
    assert "arms: none, wang, brox with --arms all, and in preset paper: fb_abs" in flat


def test_the_plan_says_what_sharing_saves_and_what_is_left_out(at, capsys):
    words = ["occlusion_ablation", "--plan", "--seeds", "2", "--workers", "2"]
    code, text, _ = answered(words, capsys)
    assert code == 0 and "the first 780 steps of 6 runs are trained 2 times" in text
    assert "sharing saves 3120 of the 7200 steps to do" in text
    assert "arms that were not asked for: fb_abs, wang4" in text
    plain = json.loads(answered([*words, "--json"], capsys)[1])
    assert (plain["todo"], plain["saved_steps"], plain["all_steps"]) == (6, 3120, 7200)
    assert plain["left_out"][0] == "fb_abs" and os.listdir(at) == []


# arm minus none, by seed: wang's differences vary by sqrt(.0002) = .0141 px, brox's are all the same
DIFFERENCES = {"none": (0.0,) * 5, "wang": (-0.08, -0.06, -0.04, -0.06, -0.06), "brox": (0.02,) * 5}


def test_the_plan_says_what_it_can_show_by_the_paired_differences_of_the_same_arms(at, finish, capsys):
    words = ["occlusion_ablation", "--preset", "smoke", "--plan", "--out", str(at), "--seeds"]
    text = " ".join(answered([*words, "4"], capsys)[1].split())
    assert "smallest detectable effect: not known before 3 seeds of these arms are in this --out" in text
    assert "vary by 0.25 px, as in short trainings from scratch, it takes about 1644 seeds, and 4 are planned" in text
    study = catalog.load("occlusion_ablation")
    plan = make(study, PlanRequest(preset=PRESETS["smoke"], seeds=(0, 1, 2, 3, 4)))
    # seeds differ by a pixel, which pairs do not
    finish(plan, at, lambda arm, seed: 3.0 + seed + DIFFERENCES[arm][seed])
    plan_store.write(plan, at, plan.plain())
    shown = json.loads(answered([*words, "8", "--json"], capsys)[1])["detectable"]
    assert (shown["seeds"], shown["comparisons"], shown["unit"]) == (8, 2, "px")
    assert shown["arms"]["wang"]["pairs"] == 5
    assert shown["arms"]["wang"]["deviation"] == pytest.approx(0.0002**0.5)
    effect = shown["arms"]["wang"]["effect"]
    assert effect == pytest.approx(smallest_detectable(0.0002**0.5, 8, alpha=0.025), rel=1e-6)
    assert shown["arms"]["brox"]["effect"] == pytest.approx(0, abs=1e-9)
    # other seeds of the same arms are the same experiments; arms of fewer steps are others
    text = " ".join(answered([*words, "10,11,12,13,14,15,16,17"], capsys)[1].split())
    assert f"by the paired differences there are, with frames enough: wang {effect:.3f} px (by 5 pairs); brox" in text
    assert "seeds that equal takes, if there is no difference: wang " in text
    other = detectable(
        make(study, PlanRequest(preset=PRESETS["smoke"], seeds=(0, 1), changes={"train.steps": "30"})), at
    )
    assert other["arms"] == {} and detectable(plan, at / "elsewhere")["arms"] == {}


def test_the_plan_states_the_looks(at, capsys):
    code, text, _ = answered(["occlusion_ablation", "--plan", "--until-decided", "10"], capsys)
    assert code == 0 and "looks after 8, 9, 10 seeds were fixed beforehand" in text and os.listdir(at) == []


@pytest.fixture
def planned(at, finish):
    """A smoke study of two seeds whose first seed is done."""
    asked = PlanRequest(preset=PRESETS["smoke"], seeds=(0, 1))
    study = catalog.load("occlusion_ablation")
    first = make(study, PlanRequest(preset=PRESETS["smoke"], seeds=(0,)))
    finish(first, at, lambda arm, seed: "the loss was not finite" if arm == "brox" else 1.0)
    plan = make(study, asked)
    plan_store.write(plan, at, plan_store.merged(plan, at))
    return at, plan


def test_the_status_tells_done_failed_running_and_waiting(planned, capsys):
    out, plan = planned
    running = next(r for r in plan.runs if (r.arm, r.seed) == ("wang", 1))
    directory = out / "runs" / running.directory
    (directory / "metrics.jsonl").write_text('{"step": 10}\n{"step": 20}\n')
    words = ["occlusion_ablation", *SMOKE, "--status", "--out", str(out)]
    before = sorted(out.rglob("*"))
    with locks.held(directory / "worker.lock"):
        code, text, _ = answered(words, capsys)
        plain = json.loads(answered([*words, "--json"], capsys)[1])
    assert code == 0
    assert plain["counts"] == {"completed": 2, "failed": 1, "running": 1, "waiting": 2, "planned": 6}
    assert "2 of 6 runs completed, 1 failed, 1 running, 2 waiting" in text
    assert "brox seed 0 diverged: the loss was not finite (--retry-failed does it again)" in text
    assert "wang seed 1 running at step 20" in text and "arms that were not asked for: fb_abs" in text
    assert sorted(out.rglob("*")) == sorted([*before, directory / "worker.lock"])


def test_a_partial_study_is_reported_as_partial(planned, capsys):
    out, _ = planned
    words = ["occlusion_ablation", *SMOKE, "--out", str(out), "--report-only"]
    code, text, _ = answered(words, capsys)
    flat = " ".join(text.split())
    assert code == 3 and "partial: 3/6 runs" in flat
    assert "arms of the study that were not run: fb_abs, wang4" in flat and "mlflow ui" not in text
    code, out_text, _ = answered([*words, "--json"], capsys)
    plain = json.loads(out_text)
    assert (plain["exit_code"], plain["failed"]) == (3, [["brox", 0]]) and plain["left_out"][0] == "fb_abs"
    assert plain["effects"]["runs"] == {"done": 3, "planned": 6}


def test_results_without_their_runs_are_reported_on_and_not_trained_again(planned, capsys):
    out, _ = planned
    assert compact.main([str(out), "--to", str(out / "kept")]) == 0
    capsys.readouterr()
    words = ["occlusion_ablation", *SMOKE, "--seeds", "2", "--out", str(out / "kept")]
    before = sorted((out / "kept").rglob("*"))
    for more in ([], ["--plan"], ["--status"], ["--worker"]):
        code, text, err = answered([*words, *more], capsys)
        assert code == 2 and text == "" and "holds the results of its runs and not the runs" in err
    assert answered([*words, "--report-only"], capsys)[0] == 3 and sorted((out / "kept").rglob("*")) == before


def test_a_plan_that_means_other_runs_now_is_code_4_and_stays(planned, capsys):
    out, _ = planned
    path = out / "occlusion_ablation" / "plan.json"
    plan = json.loads(path.read_text())
    plan["arms"][1]["runs"]["1"] = "synthetic_of_another_version_s1__0123456789ab"
    json_files.write_json(path, plan)
    before = {file: file.stat().st_mtime_ns for file in out.rglob("*")}
    for more in ([], ["--plan"]):
        code, text, err = answered(["occlusion_ablation", *SMOKE, "--seeds", "2", "--out", str(out), *more], capsys)
        assert code == 4 and text == "" and len(err.splitlines()) == 1
        assert f"arm {plan['arms'][1]['label']!r} seed 1 is another experiment now" in err
    assert {file: file.stat().st_mtime_ns for file in out.rglob("*")} == before


def test_runs_that_the_machine_could_not_do_are_code_3(at, finish, capsys, monkeypatch):
    first = make(catalog.load("occlusion_ablation"), PlanRequest(preset=PRESETS["smoke"], seeds=(0,)))
    finish(first, at, lambda arm, seed: 1.0)  # none has failed
    words = ["occlusion_ablation", *SMOKE, "--seeds", "2", "--out", str(at), "--workers", "1"]
    monkeypatch.setattr("studies.launchers.supervisor.run_all", lambda *_, **__: False)  # workers that got nothing done
    code, text, _ = answered(words, capsys)
    assert code == 3 and "3 runs could not be done here and have no result" in text

    def unable(*_, **__):
        raise CannotRun("the disk is full")

    monkeypatch.setattr("studies.launchers.supervisor.run_all", unable)
    code, _, err = answered(words, capsys)
    assert code == 3 and err.splitlines()[-1] == "studies.run: the disk is full"


def test_seeds_are_added_to_the_arms_that_were_planned(planned, capsys):
    out, _ = planned
    words = ["occlusion_ablation", "--preset", "smoke", "--add-seeds", "2", "--plan", "--json", "--out", str(out)]
    code, text, _ = answered(words, capsys)
    runs = json.loads(text)["runs"]
    assert code == 0 and sorted({run["seed"] for run in runs}) == [0, 1, 2, 3]
    assert {run["arm"] for run in runs} == {"none", "wang", "brox"}


def test_the_command_that_goes_on_adds_and_retries_nothing_twice():
    assert resumed(["x", "--add-seeds", "2", "--fresh", "--arms", "a b"], (0, 1, 2, 3)) == (
        "python -m studies.run x --arms 'a b' --seeds 0,1,2,3"
    )
    assert resumed(["x", "--add-seeds=2", "--retry-failed"], (0, 1)) == "python -m studies.run x --seeds 0,1"
    assert resumed(["--retry_failed", "x", "--add_seeds", "2"], (0, 1)) == "python -m studies.run x --seeds 0,1"
    assert resumed(["--add_seeds=2", "x"], (0, 1)) == "python -m studies.run x --seeds 0,1"
    assert resumed(["x", "--seeds", "3"], (0, 1, 2)) == "python -m studies.run x --seeds 3"


MINE = """
from studies.design import Study, vary

STUDY = Study(
    name="mine",
    question="Is wang better than brox?",
    arms=vary("occlusion", ("wang", "brox")),
    baseline="brox",
    changes={"train.steps": 30},
)
"""


def test_a_study_file_of_ones_own_runs_by_its_path(at, finish):
    (at / "mine.py").write_text(MINE)
    study = catalog.load(str(at / "mine.py"))
    plan = make(study, PlanRequest(preset=PRESETS["smoke"], seeds=(0, 1)))
    finish(plan, at / "results", lambda arm, seed: 1.0 + seed + 0.5 * (arm == "brox"))
    command = [sys.executable, "-m", "studies.run", "./mine.py", *SMOKE, "--out", "results", "--json"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=at, env=environment, timeout=1000)
    assert done.returncode == 0, done.stderr
    plain = json.loads(done.stdout)
    assert plain["study"] == "mine" and (at / "results" / "mine" / "report" / "report.html").exists()
    rows = {row["label"]: row for row in plain["effects"]["metrics"]["epe/synthetic/all"]["arms"]}
    assert rows["wang"]["comparison"]["estimate"]["mean"] == pytest.approx(-0.5)
    assert "Is wang better than brox?" in done.stderr


def test_quick_answers_load_no_large_library(at):
    code = textwrap.dedent("""
        import contextlib, io, sys
        from studies import run
        commands = [["--list"], ["--list", "--json"], ["what_matters", "--arms", "all", "--plan"],
                    ["occlusion_ablation", "--plan", "--until-decided", "12"], ["occlusion_ablation", "--status"]]
        with contextlib.redirect_stdout(io.StringIO()):
            codes = [run.main(words) for words in commands]
        print(codes, [m for m in ("mindspore", "mlflow", "optuna", "sacred", "scipy", "pandas", "matplotlib")
                      if m in sys.modules])
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=at, timeout=1000,
                          env=os.environ | {"PYTHONPATH": str(ROOT)})  # fmt: skip
    assert done.stdout.strip() == "[0, 0, 0, 0, 2] []", done.stdout + done.stderr
