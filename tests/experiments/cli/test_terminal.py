"""Commands end quietly and with their own exit code, whatever becomes of what they write to."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[3]
OWN_STUDY = """from studies.design import Arm, Study
STUDY = Study(
    name="own", question="O\\u00f9 est la diff\\u00e9rence \\u2014 \\u0394?", baseline="none", metric="all",
    arms=(Arm("none", {"occlusion.name": "none"}), Arm("wang", {"occlusion.name": "wang"})),
)
"""


def shell(script, folder, **variables):
    """What bash says of a script in which `run` is Python on the project's code."""
    text = f'run() {{ {sys.executable} "$@"; }}; {script}'
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    return subprocess.run(["bash", "-c", text], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("command", ["-m studies.run --list", "-m studies.run --list --json"])
def test_a_reader_that_stops_early_ends_nothing(command, tmp_path):
    done = shell(f"run {command} | head -n 1; exit ${{PIPESTATUS[0]}}", tmp_path)
    assert done.returncode == 0 and done.stdout.count("\n") == 1 and done.stderr == ""


@pytest.mark.parametrize(
    "command, code",
    [
        ("-m studies.run --list", 0),
        ("-m studies.run no_such_study --plan", 2),
        ("-m studies.sync nowhere", 2),
        ("-m analysis.report nowhere", 2),
        ("-m experiments.run --print-config", 0),
    ],
)
@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-", "| true"])
def test_an_output_that_is_closed_keeps_the_exit_code(command, code, closed, tmp_path):
    done = shell(f"run {command} {closed}; exit ${{PIPESTATUS[0]}}", tmp_path)
    assert done.returncode == code and "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


def test_work_goes_on_after_the_reader_has_gone(tmp_path):
    (tmp_path / "long.py").write_text(
        "import pathlib, sys\n"
        "from experiments.cli import terminal\n"
        "def main():\n"
        "    for _ in range(2000):\n"
        "        print('x' * 1000, flush=True)\n"
        "    pathlib.Path('done').write_text('all')\n"
        "    return 3\n"
        "sys.exit(terminal.ended(main))\n"
    )
    done = shell("run long.py | head -n 1; exit ${PIPESTATUS[0]}", tmp_path)
    assert done.returncode == 3 and (tmp_path / "done").read_text() == "all" and done.stderr == ""


def test_characters_that_the_output_lacks_are_escaped(tmp_path):
    (tmp_path / "own.py").write_text(OWN_STUDY)
    done = shell("run -m studies.run ./own.py --preset smoke --plan", tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "O\\xf9 est la diff\\xe9rence \\u2014 \\u0394?" in done.stdout
