"""What is loaded from the cache is this user's own."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from uflow.kernels import build

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs a compiler")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to play another user")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A cache and a library that compiles at once."""
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "one.cc").write_text('extern "C" int one() { return 1; }')
    monkeypatch.setattr(build, "_FOLDER", sources)
    monkeypatch.setenv("UFLOW_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def plant(path, marker):
    """A library, sealed as ours are, that leaves a mark when it is loaded."""
    source = path.parent / "planted.cc"
    code = f'#include <fstream>\n__attribute__((constructor)) static void run() {{ std::ofstream("{marker}"); }}\n'
    source.write_text(code + 'extern "C" int one() { return 2; }')
    subprocess.run(["g++", "-shared", "-fPIC", str(source), "-o", str(path)], check=True)
    build._seal(path)


@as_root
@pytest.mark.parametrize("of_another", [True, False])
def test_a_planted_library_is_not_loaded(place, tmp_path, of_another):
    path = build.library()
    plant(path, tmp_path / "ran")
    if of_another:
        os.chown(path, 12001, 12001)
    else:
        path.chmod(0o666)  # anybody may have written it
    place.chmod(0o1777)
    code = "import ctypes, sys; assert ctypes.CDLL(sys.argv[1]).one() == 1"
    subprocess.run([sys.executable, "-c", code, str(build.library())], check=True)
    assert not (tmp_path / "ran").exists() and place.stat().st_mode & 0o022 == 0


@as_root
def test_a_folder_of_another_user_is_refused(place):
    place.mkdir()
    os.chown(place, 12001, 12001)
    place.chmod(0o777)
    with pytest.raises(build.BuildError, match="other users may write there.*UFLOW_CACHE"):
        build.library()
    assert not list(place.iterdir())


@as_root
def test_in_a_shared_folder_every_user_has_one_of_his_own(tmp_path, monkeypatch):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    for folder in (tmp_path, *list(tmp_path.parents)[:-2]):  # up to the folder of temporary files
        folder.chmod(folder.stat().st_mode | 0o011)
    monkeypatch.setenv("UFLOW_CACHE", str(shared))
    if (child := os.fork()) == 0:
        code = 1
        try:
            os.setuid(12001)
            own = build.cache_folder()
            code = int(own != shared / "user-12001" or own.stat().st_mode & 0o777 != 0o700)
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


def test_a_relative_folder_is_the_same_for_the_runs(place, tmp_path, monkeypatch):
    from studies.workers.subprocess_run import Execution, environment_of

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UFLOW_CACHE", "relative")
    assert build.cache_folder() == tmp_path / "relative"
    assert environment_of(Execution(out=tmp_path))["UFLOW_CACHE"] == str(tmp_path / "relative")


def test_what_was_not_used_for_long_is_removed(place):
    path = build.library()
    old, kept = place / "kernels-old.so", place / "kernels-kept.so"
    for each, days in ((old, build.UNUSED_DAYS + 1), (kept, build.UNUSED_DAYS - 1)):
        each.touch()
        os.utime(each, (0, pathlib.Path(path).stat().st_mtime - 86400 * days))
    path.unlink()
    assert build.library() == path and not old.exists() and kept.exists()
