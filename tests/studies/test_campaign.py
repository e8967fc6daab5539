"""A campaign from the command to its report, killed, interrupted and continued; its runs only look like runs."""

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import psutil
import pytest

HERE = pathlib.Path(__file__).parent
PATH = os.pathsep.join(map(str, (HERE, HERE.parents[1])))
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]  # bounds a hang, and nothing else
TINY = """
from studies.design import Campaign
CAMPAIGN = Campaign(name="tiny", question="Does it go on?", studies=("occlusion_ablation", "selfsup_ablation"),
                    kinds={"synthetic": {}, "photos": {"data.source": "photos"}})
"""
WORDS = ["tiny.py", "--preset", "smoke", "--seeds", "2", "--workers", "2", "--device", "cpu", "--tracking-uri", "none"]


FAILING = {"photos_census-brox": {"status": "diverged"}}


def command(*words):
    """The command as `studies.run` does it, but for the program that trains."""
    from studies import run
    from studies.cli.arguments import parser, read

    words = [*WORDS, "--out", "out", *words]
    asked = read(parser().parse_args(words), words)
    program = dataclasses.replace(asked.settings.execution, program="trivial_trainer")
    asked = dataclasses.replace(asked, settings=dataclasses.replace(asked.settings, execution=program))
    return run._result(asked)


def main():
    result = command()
    print(result.text, flush=True)
    return result.code


def start(at):
    log = open(at / "terminal.txt", "ab")
    return subprocess.Popen(
        [sys.executable, "-c", "import sys, test_campaign; sys.exit(test_campaign.main())"],
        env=os.environ | {"PYTHONPATH": PATH}, cwd=at, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


def wait_for(condition, process):
    while not condition():
        assert process.poll() is None, "it has ended already"
        time.sleep(0.05)


def done(at):
    return sorted(path.parent.name for path in at.glob("out/runs/*/result.json"))


@pytest.fixture(scope="module")
def continued(tmp_path_factory):
    """A campaign that was killed while seed 1 was under way, interrupted there too, and continued."""
    at = tmp_path_factory.mktemp("campaign")
    (at / "tiny.py").write_text(TINY)
    (at / "out").mkdir()
    (at / "out" / "behave.json").write_text(json.dumps({"_s1__": {"until": "go"}}))
    seen = {}
    process = start(at)
    wait_for(lambda: len(done(at)) == 10 and len(list(at.glob("out/runs/*_s1__*/trained"))) == 2, process)
    launcher = psutil.Process(process.pid)
    for each in [launcher, *launcher.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait()
    seen["killed"] = done(at)
    process = start(at)
    wait_for(lambda: sum(len(p.read_text().splitlines()) for p in at.glob("out/runs/*_s1__*/trained")) >= 3, process)
    process.send_signal(signal.SIGTERM)
    seen["code"] = process.wait()
    seen["interrupted"] = (at / "terminal.txt").read_text()
    (at / "out" / "behave.json").write_text(json.dumps(FAILING))
    process = start(at)
    seen["end"] = process.wait()
    seen["text"] = (at / "terminal.txt").read_text()[len(seen["interrupted"]) :]
    return at, seen


def test_a_campaign_that_is_cut_short_has_all_arms_of_fewer_seeds(continued):
    _, seen = continued
    assert len(seen["killed"]) == 10 and all("_s0__" in name for name in seen["killed"])


def test_an_interrupted_one_says_how_to_go_on(continued):
    _, seen = continued
    assert seen["code"] == 130
    assert (
        "interrupted, 10 runs left; the same command goes on:\n  python -m studies.run tiny.py" in seen["interrupted"]
    )


def test_it_goes_on_with_what_is_left_and_every_run_is_done_once(continued):
    at, seen = continued
    assert seen["end"] == 3, seen["text"]
    assert "20 runs, 10 of them done" in seen["text"]
    ended = {path.parent.name: len(path.read_text().splitlines()) for path in at.glob("out/runs/*/ended")}
    assert len(ended) == len(done(at)) == 20 and set(ended.values()) == {1}
    assert sorted(path.parent.name for path in at.glob("out/*/queue.json")) == ["tiny"]


def test_every_study_is_one_that_all_commands_read(continued, monkeypatch, capsys):
    from analysis.results.load import load_study
    from studies import run

    at, _ = continued
    monkeypatch.chdir(at)
    for study in ("occlusion_ablation", "selfsup_ablation"):
        for kind, data in (("", "synthetic"), ("_photos", "photos")):
            found = load_study(at / "out" / f"{study}{kind}")
            assert found.done == 6 and not found.problems and found.plan.metric == f"epe/{data}/all"
            assert (found.directory / "report" / "report.html").exists()
    words = ["occlusion_ablation", "--preset", "smoke", "--seeds", "2", "--out", "out", "--tracking-uri", "none"]
    assert run.main([*words, "--status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["completed"] == 6


def test_what_is_kept_of_it_is_reported_like_the_runs(continued, monkeypatch, capsys):
    from analysis import compact
    from studies import run

    at, _ = continued
    monkeypatch.chdir(at)
    assert compact.main(["out", "--to", "kept"]) == 0
    capsys.readouterr()
    words = ["occlusion_ablation", "--preset", "smoke", "--tracking-uri", "none", "--report-only"]
    tables = []
    for out in ("out", "kept"):
        assert run.main([*words, "--out", out]) == 0
        tables.append(capsys.readouterr().out)
    assert tables[0] == tables[1] and "none (baseline)" in tables[0]


def test_it_ends_with_the_findings_and_whether_they_carry_over(continued):
    at, seen = continued
    assert "findings of the paper in 4 studies of" in seen["text"] and f"report: {at}/out/ledger.html" in seen["text"]
    text = " ".join(seen["text"].split())
    assert "synthetic and photos: 4 arms compared on both same verdict: " in text
    assert "Do verdicts carry over to other data?" in (at / "out" / "ledger.html").read_text()


def test_the_status_counts_every_run_once(continued, monkeypatch, capsys):
    from studies import run

    at, _ = continued
    monkeypatch.chdir(at)
    words = [*WORDS, "--out", "out"]
    assert run.main([*words, "--status", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["counts"] == {"planned": 20, "completed": 19, "failed": 1, "running": 0, "waiting": 0}
    assert [study["counts"]["completed"] for study in found["studies"]] == [6, 5, 6, 6]
    assert run.main([*words, "--status"]) == 0
    assert "tiny: 19 of 20 runs completed, 1 failed" in capsys.readouterr().out
    assert run.main([*words, "--plan"]) == 0
    assert "0 of 20 runs to do" in capsys.readouterr().out


def test_a_failed_run_is_done_again_when_asked(continued, monkeypatch):
    at, seen = continued
    assert "occlusion_ablation_photos: 1 failed, " in seen["text"] and "\nselfsup_ablation_photos: /" in seen["text"]
    monkeypatch.chdir(at)
    monkeypatch.setenv("PYTHONPATH", PATH)
    (at / "out" / "behave.json").write_text("{}")
    result = command("--retry-failed")
    assert result.code == 0 and result.plain["failed"] == result.plain["left"] == 0
