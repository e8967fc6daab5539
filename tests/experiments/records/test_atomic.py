"""Files are whole or not there, and whoever the umask lets in may use them."""

import os
import pathlib
import stat
import subprocess
import sys

import pytest

from experiments.records import json_files, locks
from experiments.records.atomic import replacing, settle

WRITE = """
import os, pathlib, sys
import numpy as np
os.umask(int(sys.argv[1], 8))
from experiments.data.mindrecord import writer
from experiments.records import json_files, locks
from experiments.training import checkpoints
from experiments.visualization.video_writer import VideoFile
from uflow import backend as ms
out = pathlib.Path(sys.argv[2])
json_files.write_json(out / "record.json", {})
with locks.held(out / "lock"):
    pass
checkpoints.save(out, 1, {"weight": ms.Parameter(ms.Tensor([1.0], ms.float32))}, {})
with VideoFile(out / "panels.mp4", 5) as video:
    video.add(np.zeros((16, 16, 3), np.uint8))
made = out / "made"
made.touch()
made.chmod(0o400)
writer.settle(made, out / "part-0")
"""


@pytest.mark.parametrize("umask, mode", [("002", 0o664), ("077", 0o600), ("022", 0o644)])
def test_modes_are_those_of_the_umask(umask, mode, tmp_path):
    subprocess.run([sys.executable, "-c", WRITE, umask, str(tmp_path)], check=True)
    found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    names = ["lock", "panels.mp4", "part-0", "record.json", "step_000000001.ckpt", "step_000000001.json"]
    assert found == dict.fromkeys(names, mode)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become two users")
def test_a_second_user_of_the_group_goes_on_with_the_files_of_the_first(tmp_path):
    """A folder as groups share one: setgid, umask 002."""
    shared = tmp_path / "shared"
    shared.mkdir()
    os.chown(shared, 12001, 12000)
    shared.chmod(0o2775)
    for folder in (tmp_path, *list(tmp_path.parents)[:-2]):  # pytest lets only its user in
        folder.chmod(folder.stat().st_mode | 0o011)

    def write():
        with locks.held(shared / "plan.lock", give_up=lambda: True) as alone:
            assert alone
            json_files.write_json(shared / "plan.json", {"by": os.getuid()})

    for user in (12001, 12002):
        if (child := os.fork()) == 0:
            code = 1
            try:
                os.setgroups([12000])
                os.setgid(12000)
                os.setuid(user)
                os.umask(0o002)
                write()
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert json_files.read_json(shared / "plan.json") == {"by": user}


def test_nothing_is_left_of_a_file_that_was_not_finished(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert os.listdir(tmp_path) == ["file"] and path.read_text() == "before"
    with pytest.raises(OSError, match="missing/file"), replacing(tmp_path / "missing" / "file"):
        pass


def test_a_file_is_settled_under_its_name(tmp_path):
    made = tmp_path / "made"
    made.write_text("new")
    settle(made, tmp_path / "file")
    assert os.listdir(tmp_path) == ["file"] and pathlib.Path(tmp_path, "file").read_text() == "new"
