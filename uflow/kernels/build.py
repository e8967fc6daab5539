"""The kernels' library: C++ compiled once for this machine and kept in a cache.

Imports no MindSpore; the version is read from the package's metadata.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib.metadata
import os
import pathlib
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterable

FLAGS = "-std=gnu++17 -O3 -march=native -ffp-contract=fast -fno-math-errno -fno-trapping-math -fopenmp -fPIC -shared"
X86_FLAGS = "-mprefer-vector-width=512"  # compilers hold back from AVX-512 otherwise
_FOLDER = pathlib.Path(__file__).parent
UNUSED_DAYS = 30  # after which a build or a graph is removed from the cache
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_SECONDS = 600  # what a compiler may take on a slow, busy machine


class BuildError(Exception):
    """Why there is no library, in one line."""


def cache_folder() -> pathlib.Path:
    """Where this user's libraries and compiled graphs are kept.

    `$UFLOW_CACHE`, else `uflow` in `$XDG_CACHE_HOME`, else `~/.cache/uflow`; who has no home, such as a user number of
    a container, has a private folder among the temporary files. What is there is loaded and run, so nobody else may
    write to it: in a folder that others share, as /tmp is shared, a folder of the user's own is made.

    Raises:
        BuildError: if there can be no such folder.
    """
    chosen = _named_folder()
    if chosen is None:
        return _private_folder(pathlib.Path(tempfile.gettempdir(), f"uflow-{os.getuid()}"))
    try:
        chosen.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = chosen.stat()
        if about.st_uid == os.geteuid():
            if about.st_mode & _OTHERS_WRITE:
                chosen.chmod(stat.S_IMODE(about.st_mode) & ~_OTHERS_WRITE)
            return chosen
        if _is_trusted(about):
            return chosen
    except OSError as error:
        raise BuildError(f"{chosen}: {error.strerror or error}") from None
    if about.st_uid == 0 and about.st_mode & stat.S_ISVTX:  # else its owner, or anybody, could exchange ours
        return _private_folder(chosen / f"user-{os.geteuid()}")
    raise BuildError(f"{chosen}: other users may write there, so nothing of it is loaded; set UFLOW_CACHE to your own")


def _named_folder() -> pathlib.Path | None:
    """The folder that the environment names, or that is in the user's home; `None` if there is no home."""
    if named := os.environ.get("UFLOW_CACHE"):
        return pathlib.Path(named).absolute()
    base = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(base):  # others are to be ignored, says the XDG Base Directory Specification
        return pathlib.Path(base, "uflow")
    home = os.path.expanduser("~")  # stays as it is without HOME and an entry for the user
    if os.path.isabs(home) and os.path.realpath(home) != "/" and os.access(_standing(home), os.W_OK):
        return pathlib.Path(home, ".cache", "uflow")
    return None


def _is_trusted(about: os.stat_result) -> bool:
    """True if only this user and root may write to what is described."""
    return about.st_uid in (0, os.geteuid()) and not about.st_mode & _OTHERS_WRITE


def prune(paths: Iterable[pathlib.Path]) -> None:
    """Removes files and folders of the cache that no process has used for `UNUSED_DAYS`."""
    for path in paths:
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > 86400 * UNUSED_DAYS:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def used(path: pathlib.Path) -> None:
    """Notes that something of the cache is in use, once a day."""
    with contextlib.suppress(OSError):
        if time.time() - path.stat().st_mtime > 86400:
            os.utime(path)


def _standing(path: str) -> str:
    """The nearest folder above a path, or itself, that is there."""
    return path if os.path.exists(path) else _standing(os.path.dirname(path))


def _private_folder(folder: pathlib.Path) -> pathlib.Path:
    """The folder, made if it is not there, if it is this user's alone."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise BuildError(f"{folder}: {error.strerror or error} (set UFLOW_CACHE to a folder of your own)") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise BuildError(f"{folder}: is not private to this user (set UFLOW_CACHE to a folder of your own)")
    return folder


def _compiler() -> tuple[str, ...]:
    """The words that start the compiler: `$CXX`, maybe with a wrapper or options, as in `ccache g++`; else `g++`."""
    chosen = os.environ.get("CXX", "g++")
    try:
        name, *rest = shlex.split(chosen)
    except ValueError:  # no words, or a quote that is not closed
        raise BuildError(f"CXX={chosen!r} is no command (set CXX to a C++ compiler)") from None
    found = shutil.which(name)
    if not found:
        raise BuildError(f"no C++ compiler {name!r} (set CXX to another one)")
    return found, *rest


def _cpu() -> str:
    """The model and instruction sets of the CPU, on which `-march=native` depends."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    wanted = ("model name", "flags", "CPU part", "Features")
    return "\n".join(dict.fromkeys(line for line in lines if line.startswith(wanted))) or platform.processor()


def _flags() -> list[str]:
    return FLAGS.split() + (X86_FLAGS.split() if platform.machine() in ("x86_64", "AMD64") else [])


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildError(f"{command[0]} did not run: {error}") from None
    if done.returncode:
        raise BuildError(f"{command[0]} failed: {(done.stderr.strip() or 'no message').splitlines()[0]}")
    return done.stdout


def digest(compiler: tuple[str, ...]) -> str:
    """Names a build: sources, flags, compiler, MindSpore and CPU."""
    parts = [(_FOLDER / name).read_bytes() for name in sorted(os.listdir(_FOLDER)) if name.endswith((".cc", ".h"))]
    facts = (*_flags(), *compiler, _run([*compiler, "--version"]), importlib.metadata.version("mindspore"), _cpu())
    parts += [fact.encode() for fact in facts]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:20]


def _whole(path: pathlib.Path) -> bool:
    """True if nobody else wrote the file and it ends with its checksum; one that was cut off can kill who loads it."""
    try:
        content, about = path.read_bytes(), path.lstat()
    except OSError:
        return False
    return _is_trusted(about) and len(content) > 32 and hashlib.sha256(content[:-32]).digest() == content[-32:]


def _seal(path: pathlib.Path) -> None:
    """Appends the checksum; loaders do not look behind the sections of a library."""
    content = path.read_bytes()
    path.write_bytes(content + hashlib.sha256(content).digest())


def compile_library(sources: Iterable[pathlib.Path], made: pathlib.Path, compiler: tuple[str, ...] = ()) -> None:
    """Compiles a library for this machine, with the kernels' flags and headers.

    Args:
        sources: files in C++.
        made: the library.
        compiler: the words that start it; by default those of `CXX`, or `g++`.

    Raises:
        BuildError: without a compiler, or if it fails.
    """
    compiler = compiler or _compiler()
    _run([*compiler, *_flags(), f"-I{_FOLDER}", *map(str, sources), "-o", str(made)])


def library() -> pathlib.Path:
    """The path of the library; compiles it if it is not in the cache or broken there (some 20 s).

    Processes that build at the same time each build their own copy; the last one to finish is kept.

    Raises:
        BuildError: without a compiler, a folder to write to, or after a failed compilation.
    """
    if platform.system() != "Linux":
        raise BuildError(f"custom operators of MindSpore need Linux, not {platform.system()}")
    compiler = _compiler()
    path = cache_folder() / f"kernels-{digest(compiler)}.so"
    if _whole(path):
        used(path)
        return path.resolve()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".building-", dir=path.parent) as folder:
            made = pathlib.Path(folder, path.name)
            compile_library(sorted(_FOLDER.glob("*.cc")), made, compiler)
            _seal(made)
            made.chmod(stat.S_IMODE(made.stat().st_mode) & ~_OTHERS_WRITE)
            ctypes.CDLL(str(made))  # fails here rather than in a training step
            os.replace(made, path)
        prune(path.parent.glob("kernels-*.so"))
    except OSError as error:
        raise BuildError(f"{path}: {error.strerror or error}") from None
    return path.resolve()
