"""A campaign is its studies, each on each kind of data, planned as one: every run once, seeds outermost."""

import json
import os

import pytest

from experiments import run as experiment
from experiments.records.plan import read_plan
from experiments.records.run_settings import RunSettings
from experiments.spec import changed, to_config
from studies import run
from studies.cli import campaign
from studies.cli.arguments import parser, read
from studies.design import Campaign
from studies.planning import catalog, plan_store
from studies.planning.campaign_plan import each, joined
from studies.planning.planner import PlanError, PlanRequest, make
from studies.presets import PRESETS
from studies.queue.endings import DriftError
from studies.workers.worker import _check_data

KINDS = {"synthetic": {}, "photos": {"data.source": "photos"}}
TINY = 'from studies.design import Campaign\nCAMPAIGN = Campaign(name="tiny", question="?", studies=("occlusion_ablation",\n    "selfsup_ablation"), kinds={"synthetic": {}, "photos": {"data.source": "photos"}})\n'  # noqa: E501


@pytest.fixture
def at(tmp_path, monkeypatch):
    """A directory with a campaign of two studies on two kinds of data."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.py").write_text(TINY)
    return tmp_path


def asked(*words):
    words = ["./tiny.py", "--preset", "smoke", "--out", "out", "--workers", "2", *words]
    return read(parser().parse_args(words), words)


def planned(command):
    return joined(command.study, [make(part.study, part.request) for part in command.parts])


def test_a_study_has_a_folder_for_each_kind_of_data(at):
    command = asked("--seeds", "1")
    folders = ["occlusion_ablation", "occlusion_ablation_photos", "selfsup_ablation", "selfsup_ablation_photos"]
    assert [part.folder for part in command.parts] == [at / "out" / name for name in folders]
    assert [dict(part.request.changes) for part in command.parts] == [{}, {"data.source": "photos"}] * 2
    assert command.folder == at / "out" / "tiny" and command.settings.queue == "tiny"
    specs = [plan.runs[0].spec for plan in planned(command).parts]
    assert [spec.data.source for spec in specs] == ["synthetic", "photos"] * 2


def test_the_plan_of_a_study_says_the_kind_of_data_by_its_name(at):
    kinds = '{"synthetic": {}, "small_photos": {"data.source": "photos", "train.batch_size": 2}}'
    (at / "tiny.py").write_text(TINY.replace('{"synthetic": {}, "photos": {"data.source": "photos"}}', kinds))
    names = [("occlusion_ablation", "synthetic"), ("occlusion_ablation", "small_photos")]
    for plan in planned(asked("--seeds", "1", "--eval", "photos")).parts[:2]:
        plan_store.write(plan, at / "out", plan.plain())
        found, (study, kind) = read_plan(at / "out" / plan.study.name), names.pop(0)
        assert (found.kind, found.study.removesuffix(f"_{kind}")) == (kind, study) and found.metric == "epe/photos/all"
    alone = PlanRequest(preset=PRESETS["smoke"], seeds=(0,), changes=plan.changes)
    assert make(catalog.load("occlusion_ablation"), alone).plain()["kind"] == "photos"


def test_a_run_that_is_in_two_studies_is_made_once_and_seeds_are_outermost(at):
    plan = planned(asked("--seeds", "3"))
    parts = [len(part.all_runs) for part in plan.parts]
    assert parts == [9, 9, 9, 9]
    # without masks and without self-supervision, an arm of both studies, for each seed and each kind of data
    assert len(plan.all_runs) == 36 - 6 == len({run.directory for run in plan.all_runs})
    order = plan_store.pending(plan, at / "out", workers=2)
    assert {run.directory for run in order} == {run.directory for run in plan.all_runs}
    # with two workers two groups are under way, so one run of the next seed may go ahead
    seeds = [run.seed for run in order]
    assert seeds[:10] == [0] * 10 and set(seeds[:11]) >= {0} and seeds[-9:] == [2] * 9
    assert [run.seed for run in plan_store.pending(plan, at / "out")] == [0] * 10 + [1] * 10 + [2] * 10
    firsts = [(run.seed, run.spec.data.source) for run in order[:2]]
    assert firsts == [(0, "synthetic"), (0, "photos")]


def test_what_runs_of_a_study_train_in_common_they_share_in_the_campaign(at):
    plan = planned(asked("--seeds", "1"))
    assert plan.shared_steps == plan.parts[0].shared_steps == (20,)


def test_the_plan_says_runs_and_hours_of_all_and_writes_nothing(at, capsys):
    words = ["./tiny.py", "--preset", "smoke", "--seeds", "2", "--workers", "2", "--out", "out", "--plan"]
    assert run.main(words) == 0
    text = capsys.readouterr().out
    assert "occlusion_ablation  photos     3 arms, 2 seeds: 6 runs, 6 to do" in text
    assert "4 of these runs belong to more than one study and are made once" in text
    assert "20 of 20 runs to do, about" in text and os.listdir(at) == ["tiny.py"]


def test_a_clip_without_ground_truth_is_trained_on_and_evaluated_on_what_has_it(at):
    command = asked("--seeds", "1", "--data", "video:clip.mp4", "--eval", "photos")
    assert list(command.study.kinds) == ["synthetic", "photos", "video"]
    changes = [dict(part.request.changes) for part in command.parts[:3]]
    assert changes == [{}, {"data.source": "photos"}, {"data.source": "video:clip.mp4", "evaluation.source": "photos"}]
    assert command.parts[2].study.name == "occlusion_ablation_video"


def test_arms_of_a_campaign_of_one_study_are_chosen_on_all_kinds_of_data(at):
    (at / "tiny.py").write_text(TINY.replace('"occlusion_ablation",\n    "selfsup_ablation"', '"occlusion_ablation",'))
    parts = planned(asked("--seeds", "4,5", "--arms", "wang,wang+gradient")).parts
    labels = ["none", "wang", "wang+gradient"]  # with the baseline
    runs = [(run.spec.data.source, run.seed, run.arm) for plan in parts for run in plan.runs]
    assert runs == [(kind, seed, arm) for kind in ("synthetic", "photos") for seed in (4, 5) for arm in labels]


@pytest.mark.parametrize(
    "words, message",
    [
        (["--arms", "none"], "--arms is for one study, and tiny is a campaign of 2: give the name of a study"),
        (["--search", "3", "--search-over", "x"], "--search, --search-over are for one study"),
        (["--until-decided", "9"], "--until-decided is for one study"),
        (["--add-seeds", "2"], "--add-seeds is for one study"),
        (["--set", "selfsup.name=none"], "selfsup_ablation, selfsup_ablation_photos: 'selfsup.name' is what the arms"),
        (["--set", "train.stps=3"], "studies.run: unknown option 'train.stps'; did you mean 'train.steps'?"),
        (["--status"], "studies.run: nothing of tiny was planned in"),
        (["--report-only"], "nothing of tiny was planned in"),
        (["--preset", "paper"], "studies.run: preset 'paper' needs a GPU or Ascend"),
        (["--data", "video:clip.mp4"], "occlusion_ablation_video, selfsup_ablation_video: "),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name_and_nothing_is_written(at, capsys, words, message):
    code = run.main(["./tiny.py", "--preset", "smoke", "--out", "out", *words])
    shown = capsys.readouterr()
    assert code == 2 and message in shown.err and shown.out == "" and os.listdir(at) == ["tiny.py"]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"studies": ()}, "there are no studies in it"),
        ({"studies": ("a", "b", "a")}, "study 'a' is named twice"),
        ({"kinds": {"my data": {}}}, "kind 'my data' must be an identifier"),
        ({"kinds": {"a": {}, "b": {}}}, "kind 'b' is the same as 'a'"),
        ({"studies": ("a", "a_b"), "kinds": {"b_c": {"x": 1}, "c": {"x": 2}}}, "two of its parts are called 'a_b_c'"),
    ],
)
def test_a_campaign_that_is_none_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Campaign(**({"name": "mine", "question": "?", "studies": ("a",), "kinds": KINDS} | changes))


def test_the_campaign_of_the_paper_is_found_by_its_name():
    assert catalog.campaigns() == ("paper",)
    paper = catalog.load("paper")
    assert paper.name == "paper" and set(paper.studies) <= set(catalog.names()) and list(paper.kinds) == list(KINDS)


def test_what_is_wrong_everywhere_is_said_once_and_drift_stays_drift():
    def raises(text, kind=ValueError):
        def task():
            raise kind(text)

        return task

    assert each({"a": lambda: 1, "b": lambda: 2}) == [1, 2]
    with pytest.raises(PlanError, match="^both\nb: only here$"):
        each({"a": raises("both"), "b": raises("both\nonly here")})
    with pytest.raises(DriftError, match="^b: gone$"):
        each({"a": lambda: 1, "b": raises("gone", DriftError)})


@pytest.mark.parametrize(
    "studies, message",
    [
        (("paper", "selfsup_ablation"), "paper: 'paper' is a campaign itself, and a campaign is of studies"),
        (("hyperparameters", "selfsup_ablation"), "hyperparameters: 'hyperparameters' searches settings before it has"),
        (("selfsup_ablaton", "selfsup_ablation"), "selfsup_ablaton: unknown study 'selfsup_ablaton'; did you mean"),
    ],
)
def test_what_cannot_be_part_of_a_campaign_is_refused_by_its_name(at, capsys, studies, message):
    (at / "tiny.py").write_text(TINY.replace('("occlusion_ablation",\n    "selfsup_ablation")', repr(studies)))
    assert run.main(["./tiny.py", "--preset", "smoke", "--out", "out", "--plan"]) == 2
    assert f"studies.run: {message}" in capsys.readouterr().err and os.listdir(at) == ["tiny.py"]


def test_a_worker_joins_a_campaign_that_was_planned_and_no_other(at, capsys):
    words = ["./tiny.py", "--preset", "smoke", "--out", "out", "--tracking-uri", "none"]
    words += ["--worker", "--workers", "1", "--wait", "0"]
    assert run.main(words) == 2 and os.listdir(at) == ["tiny.py"]
    assert "--worker: nothing of tiny was planned in" in capsys.readouterr().err
    (at / "out" / "tiny").mkdir(parents=True)
    assert run.main(words) == 2
    assert "no run of tiny came within 0 s" in capsys.readouterr().err


def test_it_counts_every_run_once_and_says_what_sacred_has_lost(at, capsys, finish):
    """Of a campaign whose plans were not all written; a run that two of its studies share has failed."""
    plans = planned(asked("--seeds", "1")).parts
    (shared,) = {run.directory for run in plans[0].runs} & {run.directory for run in plans[2].runs}
    for plan in (plans[0], plans[2]):
        names = {(run.arm, run.seed): run.directory for run in plan.runs}
        finish(plan, at / "out", lambda *run, names=names: "the loss was not finite" if names[run] == shared else 1.0)
        plan_store.write(plan, at / "out", plan.plain())
    (at / "out" / "runs" / shared / "sacred_problems.json").write_text('{"count": 2, "first": "full"}')
    words = ["./tiny.py", "--preset", "smoke", "--seeds", "1", "--out", "out", "--tracking-uri", "none"]
    assert run.main([*words, "--status", "--json"]) == 0
    counts = {"planned": 5, "completed": 4, "failed": 1, "running": 0, "waiting": 0}
    assert json.loads(capsys.readouterr().out)["counts"] == counts
    damaged = at / "out" / "runs" / plans[0].runs[-1].directory / "result.json"
    damaged.write_text(damaged.read_text()[:-9])
    found = campaign.looked_at(asked(*words[1:]), None)
    assert (found.code, found.plain["failed"], found.plain["left"]) == (3, 1, 0)
    assert [len(study["failed"]) for study in found.plain["studies"]] == [1, 1]
    assert f"\nleft out: {damaged}: not valid JSON" in found.text
    assert found.text.count("Sacred could not record 2 events of 1 runs") == 1


def test_a_worker_looks_for_the_data_of_a_kind_where_it_is_told_and_for_those_of_others_where_they_are(at):
    words = ["--worker", "--storage", "postgresql://me@host/db", "--data", "video:/here.mp4", "--eval", "photos"]
    command = asked(*words, "--seeds", "1")
    told = command.settings.execution.sources
    assert told == {"data.source": "video:/here.mp4", "evaluation.source": "photos"}
    assert asked("--data", "video:/there.mp4", "--eval", "photos").settings.execution.sources == {}
    spec = planned(asked("--seeds", "1")).parts[1].runs[0].spec
    _check_data(spec, told)  # of photos: a clip is not looked for, and would be refused

    def composed(source):
        path = at / "spec.json"
        path.write_text(json.dumps(to_config(changed(spec, {"data.source": source, "data.digest": ""}))))
        settings = RunSettings(out=at, sources=told).to_json()
        given = experiment.parser().parse_args(["--spec", str(path), "--settings", settings])
        return experiment.compose(given, told).data.source

    assert composed("photos") == "photos" and composed("video:/there.mp4") == "video:/here.mp4"
