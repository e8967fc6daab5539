"""A launcher that a file brings starts workers, is asked about its options before, and is refused by name."""

import json
import os
import pathlib
import re
import subprocess
import sys
import time

import psutil
import pytest

from studies import run
from studies.launchers.supervisor import start_of
from uflow import extensions

HERE = pathlib.Path(__file__).parents[1]
PAGE = (HERE.parents[1] / "docs/guide/scale.md").read_text()
POLITE = re.search(r'title="polite.py"\n(.*?)```', PAGE, re.DOTALL)[1]
OWN = """
import os
import subprocess
import sys

from studies.workers.worker import command_line, environment

class Started(list):
    def running(self):
        return sum(process.poll() is None for process in self)
    def stop(self):
        for process in self:
            process.terminate()
    def kill(self):
        for process in self:
            process.kill()
    def ended(self):
        return [process.returncode for process in self if process.poll() is not None]

def own(options):
    def start(settings, log_file):
        program = [sys.executable, "-m", "studies.workers.worker"]
        with open(log_file.with_name("own"), "a") as log:
            print(len(settings), *options.items(), file=log)
        return Started(subprocess.Popen([*program, *command_line(each)], env=os.environ | environment(each))
                       for each in settings)
    return start

LAUNCHERS = {"own": own}
"""
pytestmark = pytest.mark.timeout(3000)  # bounds a hang, and nothing else


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch):
    monkeypatch.setattr(extensions, "_loaded", {})


def launch(out, text, *words, runs):
    """Starts a study of trivial runs with the launcher of a file; those of seed 0 wait for a file `open`."""
    (out / "mine.py").write_text(text)
    (out / "behave.json").write_text(json.dumps({"_s0__": {"until": "open"}}))
    environment = {key: value for key, value in os.environ.items() if not key.startswith("UFLOW_")}
    command = [sys.executable, HERE / "launching.py", out, str(runs), "2", f"extensions={out / 'mine.py'}", *words]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def workers(out):
    """The workers that are there, by what they were told."""
    found = []
    for process in psutil.process_iter(["cmdline", "nice"]):
        words = process.info["cmdline"] or []
        if "studies.workers.worker" in words and str(out) in words:
            found.append(process)
    return found


def test_runs_are_done_once_by_workers_that_a_file_starts_by_itself(tmp_path):
    study = launch(tmp_path, OWN, "launcher=own", "to.anything=7", runs=4)
    (tmp_path / "open").touch()
    said, _ = study.communicate()
    assert study.returncode == 0, said
    assert (tmp_path / "trivial/own").read_text() == "2 ('anything', '7')\n"
    begun = {path.parent.name: path.read_text().count("\n") for path in tmp_path.glob("runs/*/trained")}
    assert len(begun) == 4 and set(begun.values()) == {1} and len(list(tmp_path.glob("runs/*/result.json"))) == 4


def test_the_launcher_of_the_page_has_its_option_and_its_workers_can_be_stopped(tmp_path):
    study = launch(tmp_path, POLITE, "launcher=polite", "to.nice=3", runs=2)
    try:
        while not list(tmp_path.glob("runs/*/trained")):
            assert study.poll() is None, study.communicate()[0]
            time.sleep(0.05)
        there = workers(tmp_path)
    finally:
        study.terminate()
    assert there and {process.info["nice"] for process in there} == {min(19, os.nice(0) + 3)}
    assert study.wait() == 130 and not workers(tmp_path)


@pytest.mark.parametrize(
    "text, words, said",
    [
        (POLITE, ["polite", "nice=fast"], r"--launcher polite: nice must be a whole number in \[0, 19\], got 'fast'"),
        (POLITE, ["polite", "level=3"], r"--launcher polite: there is no option 'level' \(known: nice\)"),
        (POLITE, ["polit"], r"unknown launcher 'polit'; did you mean 'polite'\? \(known: local, ray, slurm, polite\)"),
        (POLITE.replace('"polite":', '"ray":'), ["ray"], "a launcher 'ray' is there already; give it another name"),
        ("LAUNCHERS = {'odd': lambda options: 1 / 0}", ["odd"], "--launcher odd of .*mine.py: ZeroDivisionError"),
        (
            "LAUNCHERS = {'odd': lambda options: 3}",
            ["odd"],
            "mine.py: must return a function that starts workers, got 3",
        ),
    ],
)
def test_what_cannot_start_workers_is_one_sentence_before_anything_is_written(tmp_path, capsys, text, words, said):
    (tmp_path / "mine.py").write_text(text)
    launcher, *options = words
    asked = ["occlusion_ablation", "--preset", "smoke", "--out", str(tmp_path / "out")]
    given = ["--extensions", str(tmp_path / "mine.py"), "--launcher", launcher]
    given += [word for option in options for word in ("--launcher-option", option)]
    assert run.main([*asked, *given]) == 2
    told = capsys.readouterr().err
    assert re.search(said, told) and told.count("\n") == 1, told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "start, said",
    [("lambda *given: None", "must return workers, with running, stop, kill and ended .* got None"),
     ("lambda *given: {}['x']", "mine.py: KeyError: 'x'")],
)  # fmt: skip
def test_what_starts_no_workers_is_said_when_it_is_asked_to(tmp_path, start, said):
    (tmp_path / "mine.py").write_text(f"LAUNCHERS = {{'odd': lambda options: {start}}}")
    extensions.load([tmp_path / "mine.py"])
    begin = start_of("odd", {})
    with pytest.raises(ValueError, match=said):
        begin((), tmp_path / "log")
