"""The kernels' library: C++ compiled once for this machine and kept in a cache.

Imports no MindSpore; the version is read from the package's metadata.
"""

from __future__ import annotations

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

FLAGS = "-std=gnu++17 -O3 -march=native -ffp-contract=fast -fno-math-errno -fno-trapping-math -fopenmp -fPIC -shared"
X86_FLAGS = "-mprefer-vector-width=512"  # compilers hold back from AVX-512 otherwise
_FOLDER = pathlib.Path(__file__).parent
_SECONDS = 600  # what a compiler may take on a slow, busy machine


class BuildError(Exception):
    """Why there is no library, in one line."""


def cache_folder() -> pathlib.Path:
    """Where libraries are kept: `$UFLOW_CACHE`, else `uflow` in `$XDG_CACHE_HOME`, else `~/.cache/uflow`.

    Who has no home, such as a user number of a container, has a private folder among the temporary files.

    Raises:
        BuildError: if that folder is another user's, or others may write to it.
    """
    if chosen := os.environ.get("UFLOW_CACHE"):
        return pathlib.Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(base):  # others are to be ignored, says the XDG Base Directory Specification
        return pathlib.Path(base, "uflow")
    home = os.path.expanduser("~")  # stays as it is without HOME and an entry for the user
    if os.path.isabs(home) and os.path.realpath(home) != "/" and os.access(_standing(home), os.W_OK):
        return pathlib.Path(home, ".cache", "uflow")
    return _private_folder()


def _standing(path: str) -> str:
    """The nearest folder above a path, or itself, that is there."""
    return path if os.path.exists(path) else _standing(os.path.dirname(path))


def _private_folder() -> pathlib.Path:
    folder = pathlib.Path(tempfile.gettempdir(), f"uflow-{os.getuid()}")
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
    """True if the file ends with its checksum; a library that was cut off can kill the process that loads it."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return len(content) > 32 and hashlib.sha256(content[:-32]).digest() == content[-32:]


def _seal(path: pathlib.Path) -> None:
    """Appends the checksum; loaders do not look behind the sections of a library."""
    content = path.read_bytes()
    path.write_bytes(content + hashlib.sha256(content).digest())


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
        return path.resolve()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".building-", dir=path.parent) as folder:
            made = pathlib.Path(folder, path.name)
            _run([*compiler, *_flags(), *map(str, sorted(_FOLDER.glob("*.cc"))), "-o", str(made)])
            _seal(made)
            ctypes.CDLL(str(made))  # fails here rather than in a training step
            os.replace(made, path)
    except OSError as error:
        raise BuildError(f"{path}: {error.strerror or error}") from None
    return path.resolve()
