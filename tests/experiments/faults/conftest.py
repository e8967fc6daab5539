"""Faults for real: small file systems, what is left of a file after a crash, and a seed that is shown."""

import os
import pathlib
import random
import subprocess

import pytest


@pytest.fixture
def chance(request):
    """Random numbers of a fixed seed that the output of a failing test names."""
    seed = int(os.environ.get("UFLOW_FAULT_SEED", "20261125"))
    print(f"UFLOW_FAULT_SEED={seed}")
    return random.Random(f"{seed} {request.node.name}")


@pytest.fixture
def same():
    """`same(run, other)` is an assertion: result, learning curve and final parameters are the same bytes."""

    def check(run, other):
        for name in ("result.json", "metrics.jsonl", "spec.json"):
            assert (run / name).read_bytes() == (other / name).read_bytes(), name
        described = [next(place.glob("checkpoints/*.json")) for place in (run, other)]
        assert described[0].read_bytes() == described[1].read_bytes(), "the digest is in there"

    return check


class SmallDisk:
    """A file system of its own."""

    def __init__(self, place: pathlib.Path):
        self.place, self.filler = place, place / "filler"

    def fill(self):
        """Takes what is free, to the last page."""
        with open(self.filler, "ab", buffering=0) as file:
            for size in (2**16, 2**12, 1):
                try:
                    while file.write(b"\0" * size):
                        pass
                except OSError:
                    pass

    def make_room(self):
        self.filler.unlink()


@pytest.fixture
def make_disk(tmp_path):
    """`make_disk(kib)` -> `SmallDisk`; needs the right to mount."""
    mounted = []

    def make(kib):
        place = tmp_path / f"disk{len(mounted)}"
        place.mkdir()
        said = ""
        for rights in ([], ["sudo", "-n"]):
            command = [*rights, "mount", "-t", "tmpfs", "-o", f"size={kib}k,mode=1777", "tmpfs", str(place)]
            try:
                done = subprocess.run(command, capture_output=True, text=True)
            except OSError as error:
                said = str(error)
                continue
            if done.returncode == 0:
                mounted.append([*rights, "umount", "-l", str(place)])
                return SmallDisk(place)
            said = done.stderr.strip()
        pytest.skip(f"no file system can be mounted here: {said}")

    yield make
    for command in mounted:
        subprocess.run(command, check=True)


def cut(content, at, chance):
    return content[:at]


def end_in_zeros(content, at, chance):
    """What ext4 and XFS leave of a file whose size reached the disk and whose last blocks did not."""
    return content[:at] + bytes(len(content) - at)


def zeros_behind(content, at, chance):
    """A file cut off and then filled up to a whole block."""
    return content[:at] + bytes(chance.randrange(1, 4096))


DAMAGES = (cut, end_in_zeros, zeros_behind)


@pytest.fixture
def damaged(chance):
    """`damaged(content, count)` yields that many versions of a file's content, each unlike the whole one."""

    def make(content, count):
        for number in range(count):
            while True:
                found = DAMAGES[number % len(DAMAGES)](content, chance.randrange(len(content)), chance)
                if found.rstrip(b"\0\n") != content.rstrip(b"\0\n"):
                    break
            yield found

    return make
