"""Every command and snippet of the guide does what it is shown to do, in one folder, on one small study.

The notebook trains that study; the pages find its runs. Commands that a page marks as long (`<!-- long -->`) are not
run: those of studies are planned with --plan, all others, and those whose data are not here, are parsed.
"""

import importlib
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import types

import pytest

from studies import run

ROOT = pathlib.Path(__file__).parents[1]
GUIDE = ROOT / "docs/guide"
PAGES = sorted(path.name for path in GUIDE.glob("*.md"))
NOTEBOOK = GUIDE / "first_study.ipynb"
BLOCK = re.compile(r"(<!-- long -->\n)?^```(bash|python)(?: title=\"([\w.]+)\")?\n(.*?)^```", re.MULTILINE | re.DOTALL)
NOT_HERE = ("FlyingChairs_release", "MPI-Sintel")  # data that nobody can be asked to have
ELSEWHERE = ("experiments.run",)  # prints what it was asked for and ends the process
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "ONEDNN_MAX_CPU_ISA": "AVX2"}


@pytest.fixture(scope="module")
def worked(once):
    """The folder in which the notebook has run."""
    return once("guide", run_notebook)


def run_notebook(folder):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    before = {key: os.environ.get(key) for key in ("PYTHONPATH", "ONEDNN_MAX_CPU_ISA")}
    os.environ.update(ENVIRONMENT)
    try:
        resources = {"metadata": {"path": str(folder)}}
        nbclient.NotebookClient(notebook, timeout=1500, kernel_name="python3", resources=resources).execute()
    finally:
        for key, value in before.items():
            os.environ.pop(key) if value is None else os.environ.update({key: value})
    nbformat.write(notebook, folder / "executed.ipynb")


@pytest.fixture
def place(tmp_path, monkeypatch, worked, no_extensions):
    """A folder for one page, with the results of the study; what the page registers is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").symlink_to(worked / "results")
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_the_notebook_runs_from_top_to_bottom(worked):
    assert (worked / "results/small_patch/report/report.html").exists()
    runs = list((worked / "results/runs").iterdir())
    assert len(runs) == 2 and all((run / "result.json").exists() for run in runs)


def test_the_notebook_is_kept_with_its_outputs():
    nbformat = pytest.importorskip("nbformat")
    cells = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    counts = [cell.execution_count for cell in cells]
    assert counts == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert "image/png" in str(outputs) and "baseline" in str(outputs)
    assert NOTEBOOK.stat().st_size < 250_000


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("page", PAGES)
def test_every_command_and_snippet_of_a_page_works(page, place, worked, monkeypatch):
    text = (GUIDE / page).read_text()
    if "experiments.new study small_patch" not in text:
        shutil.copy(worked / "small_patch.py", place)
    for long, language, title, content in BLOCK.findall(text):
        if language == "bash":
            for line in re.sub(r"\\\n\s*", " ", content).splitlines():
                follow(shlex.split(line), bool(long))
        elif title:
            (place / title).write_text(content)
        else:
            module = types.ModuleType("snippet")
            monkeypatch.setitem(sys.modules, "snippet", module)
            exec(compile(content, page, "exec"), vars(module))


def follow(words, long):
    """Does what a command says, or plans or parses it."""
    assert words[0] == "python", words
    if words[1] != "-m":
        subprocess.run([sys.executable, *words[1:]], env=ENVIRONMENT, check=True, timeout=600)
        return
    name, *given = words[2:]
    module = importlib.import_module("studies.cli.arguments" if name == "studies.run" else name)
    if any(data in word for word in given for data in NOT_HERE) or (long and name != "studies.run"):
        module.parser().parse_args(given)
    elif name in ELSEWHERE:
        command = [sys.executable, *words[1:]]
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=1500)
        assert done.returncode == 0, done.stderr
    elif long:
        assert run.main([*given, "--plan"]) == 0, words
    else:
        assert importlib.import_module(name).main(given) == 0, words


def test_every_page_is_in_the_navigation_and_every_entry_is_a_page():
    entries = re.findall(r": ([\w/]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert sorted(entries) == sorted(pages)


def test_no_command_hides_in_a_block_that_is_not_run():
    for page in PAGES:
        rest = BLOCK.sub("", (GUIDE / page).read_text())
        assert not re.search(r"^python -m (?!venv)", rest, re.MULTILINE), page
