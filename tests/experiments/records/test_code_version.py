"""The commit is that of the project's own clone, or none."""

import subprocess

import pytest

import uflow
from experiments.records.code_version import code_version


def git(folder, *words):
    command = ["git", "-C", str(folder), "-c", "user.name=n", "-c", "user.email=e@example.org", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def clone(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("a")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path.resolve()


def test_a_clone_has_a_commit_and_says_whether_it_was_changed(clone):
    commit = git(clone, "rev-parse", "HEAD")
    assert code_version(clone) == {"version": uflow.__version__, "commit": commit, "changed": False}
    code_version.cache_clear()
    (clone / "file").write_text("b")
    assert code_version(clone)["changed"] is True


def test_a_package_inside_another_repository_has_no_commit(clone):
    (clone / "site-packages").mkdir()
    assert code_version(clone / "site-packages") == {"version": uflow.__version__}
    assert code_version(clone.parent / "nowhere") == {"version": uflow.__version__}
