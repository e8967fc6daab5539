"""Writes a trained network as one file that runs without this project.

    python -m experiments.export --checkpoint CKPT|DIR --height 384 --width 512 --file-format MINDIR|ONNX|AIR --out DIR

The file takes two images of that size, (N, 3, H, W), RGB in [0, 1], and gives the flow from the first to the second,
(N, 2, H, W), px; resizing to what the network works at and back is part of it. It is loaded and run as its users will,
and stays only if its flow is that of the checkpoint.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import uflow
from experiments.cli import flags, terminal
from experiments.records.atomic import check_writable, settle
from experiments.spec import to_config
from experiments.tracking.redaction import check_place
from experiments.training import checkpoints, device, weights
from uflow import extensions

TOLERANCE = 1e-3  # px; rounding grows with the flow, so where that exceeds 50 px, this share of the largest:
RELATIVE = 2e-5

# run by a Python of its own, which shows that the file needs nothing of this project
_RUN_MINDIR = """
import sys
import mindspore, numpy
mindspore.set_context(mode=mindspore.GRAPH_MODE)
mindspore.set_device(sys.argv[2], int(sys.argv[3]))
network = mindspore.nn.GraphCell(mindspore.load(sys.argv[1]))
numpy.save("flow.npy", network(*map(mindspore.Tensor, numpy.load("pair.npy"))).asnumpy())
"""


class Mismatch(RuntimeError):
    """The file that was made does not do what the checkpoint does."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be written; the fields are the flags of the command.

    Attributes:
        checkpoint: a `.ckpt` file or a directory that holds one.
        height: of the images, px.
        width: of the images, px.
        file_format: one of `FORMATS`.
        out: the directory for the file.
        batch_size: pairs at a time; `None` leaves it open in ONNX and is 1 elsewhere.
        device: one of `experiments.cli.flags.TARGETS`.
        device_id: which card.
        extensions: files with components that the checkpoint was trained with.
    """

    checkpoint: pathlib.Path
    height: int
    width: int
    file_format: str
    out: pathlib.Path
    batch_size: int | None = None
    device: str = "auto"
    device_id: int = 0
    extensions: Sequence[pathlib.Path] = ()

    @property
    def target(self) -> str:
        """The device."""
        return device.available() if self.device == "auto" else self.device

    def random_pair(self, seed: int = 0) -> np.ndarray:
        """Images of colored blocks and the same moved by (3, 2) px, (2, N, 3, H, W)."""
        shape = (self.batch_size or 1, 3, self.height // 8 + 1, self.width // 8 + 1)
        blocks = np.random.default_rng(seed).random(shape, np.float32)
        first = blocks.repeat(8, axis=2).repeat(8, axis=3)[:, :, : self.height, : self.width]
        return np.stack([first, np.roll(first, (2, 3), axis=(2, 3))])


def checkpoint_for(request: Request) -> weights.Trained:
    """The checkpoint that is asked for, if all that is asked for can be had; MindSpore is not loaded.

    Raises:
        ValueError: naming what cannot be had.
    """
    if request.file_format not in FORMATS:
        raise ValueError(f"--file-format {request.file_format}: unknown (possible: {', '.join(FORMATS)})")
    if request.file_format == "AIR" and device.available() != "Ascend":
        raise ValueError("--file-format AIR can only be written where an Ascend device is; there is none here")
    if request.target not in ("CPU", device.available()):
        raise ValueError(f"--device {request.target.lower()}: there is no such device here")
    if request.file_format == "ONNX":
        if missing := [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]:
            raise ValueError(f"--file-format ONNX needs {' and '.join(missing)}: pip install 'uflow[export]'")
    if request.batch_size is not None and request.batch_size < 1:
        raise ValueError(f"--batch-size {request.batch_size}: at least 1 is needed")
    check_place(request.out.absolute())
    extensions.load(request.extensions)
    found = weights.find(request.checkpoint)
    least = found.spec.network.multiple
    for name, size in (("height", request.height), ("width", request.width)):
        if size < least:
            raise ValueError(f"--{name} {size} is too small for the network, which works at multiples of {least} px")
    return found


def properties_of(found: weights.Trained, request: Request) -> dict[str, str]:
    """What a file says of itself."""
    plain = to_config(found.spec)
    return {
        "network": json.dumps(plain["network"]),
        "normalization": json.dumps(plain["normalization"]),
        "checkpoint_sha256": checkpoints.file_digest(found.file),
        "protocol": found.spec.evaluation.numbers,
        "size": f"{request.height}x{request.width}",
        "version": uflow.__version__,
    }


def write_mindspore(file: pathlib.Path, network: Any, request: Request, properties: Mapping[str, str]) -> None:
    """Writes a MINDIR or AIR file, of MindSpore's own operators only."""
    from uflow import backend as ms
    from uflow import kernels

    def describe(model: Any) -> None:
        model.user_info.update(properties)

    more = {"custom_func": describe} if request.file_format == "MINDIR" else {}
    pair = map(ms.Tensor, request.random_pair())
    with kernels.disabled():
        ms.export(_inference(network), *pair, file_name=str(file), file_format=request.file_format, **more)


def write_onnx(file: pathlib.Path, network: Any, request: Request, properties: Mapping[str, str]) -> None:
    """Writes an ONNX file."""
    from experiments.model_io import onnx_graph

    model = onnx_graph.model(
        network.options,
        network.normalization,
        {name: parameter.asnumpy() for name, parameter in checkpoints.parameters_of((network,)).items()},
        height=request.height,
        width=request.width,
        batch=request.batch_size,
        properties=properties,
    )
    file.write_bytes(model.SerializeToString(deterministic=True))


def run_mindir(file: pathlib.Path, pair: np.ndarray, request: Request) -> np.ndarray:
    """The flow that MindSpore finds with a file, in a process that knows nothing of this project."""
    with tempfile.TemporaryDirectory(prefix="uflow-export-") as directory:
        np.save(pathlib.Path(directory) / "pair.npy", pair)
        command = [sys.executable, "-c", _RUN_MINDIR, str(file.resolve()), request.target, str(request.device_id)]
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise Mismatch(f"MindSpore cannot run the file that it wrote: {reason}")
        return np.load(pathlib.Path(directory) / "flow.npy")


def run_onnx(file: pathlib.Path, pair: np.ndarray, request: Request) -> np.ndarray:
    """The flow that ONNX Runtime finds with a file, on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip(("first", "second"), pair, strict=True)))[0]


FORMATS = {
    "MINDIR": (write_mindspore, run_mindir, "MindSpore in a new process"),
    "ONNX": (write_onnx, run_onnx, "ONNX Runtime"),
    "AIR": (write_mindspore, None, ""),
}


def _inference(network: Any) -> Any:
    """A new cell, which is traced anew."""
    from uflow.models.inference import Inference

    return Inference(network).set_train(False)


def largest_difference(flow: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference of a file's flow from the checkpoint's, px.

    Raises:
        Mismatch: if it is more than rounding explains, or cannot be told.
    """
    if not np.isfinite(wanted).all():
        raise Mismatch("the flow of the checkpoint is not finite, so the file cannot be checked")
    if flow.shape != wanted.shape:
        raise Mismatch(f"the flow of the file has shape {flow.shape}, that of the checkpoint {wanted.shape}")
    difference = float(np.abs(flow - wanted).max())
    allowed = max(TOLERANCE, RELATIVE * float(np.abs(wanted).max()))
    if not difference <= allowed:
        raise Mismatch(f"the flow of the file differs from the checkpoint's by {difference:.3g} px")
    return difference


def checked(file: pathlib.Path, network: Any, request: Request) -> str:
    """How a file was checked and what came of it.

    Raises:
        Mismatch: if it does not do what the checkpoint does.
    """
    from uflow import backend as ms

    _, run, where = FORMATS[request.file_format]
    if run is None:
        return "not checked: AIR cannot be run from Python"
    pair = request.random_pair()
    wanted = _inference(network)(*map(ms.Tensor, pair)).asnumpy()
    difference = largest_difference(run(file, pair, request), wanted)
    return (
        f"checked: its flow of a random pair, by {where}, differs from the checkpoint's by at most {difference:.1e} px"
        f" (largest flow {np.abs(wanted).max():.3g} px)"
    )


def export(found: weights.Trained, request: Request) -> tuple[pathlib.Path, str]:
    """The file that was written, and how it was checked.

    Args:
        found: the checkpoint, from `checkpoint_for`.
        request: what is to be written; its device is prepared.

    Raises:
        ValueError: if the checkpoint is damaged or cannot be had in this format; nothing is written.
        OSError: if `out` cannot be written to.
        Mismatch: if the file does not do what the checkpoint does; it is removed.
    """
    network = found.network()
    write = FORMATS[request.file_format][0]
    name = f"{found.file.stem}_{request.height}x{request.width}.{request.file_format.lower()}"
    check_writable(request.out)
    with tempfile.TemporaryDirectory(prefix=".export.", dir=request.out) as staging:
        file = pathlib.Path(staging) / name
        try:
            write(file, network, request, properties_of(found, request))
        except OSError as error:
            raise OSError(f"--out {request.out}: cannot be written to ({error.strerror})") from None
        said = checked(file, network, request)
        settle(file, request.out / name)
    return request.out / name, said


def parser() -> flags.Parser:
    """The command line."""
    first, _, rest = __doc__.partition("\n\n")
    made = flags.Parser(
        prog="python -m experiments.export",
        description=first + " " + rest.partition("\n\n")[2].replace("\n", " "),
    )
    made.shared("checkpoint", required=True, type=pathlib.Path)
    made.add_argument("--height", required=True, type=int, help="of the images, px")
    made.add_argument("--width", required=True, type=int, help="of the images, px")
    made.add_argument(
        "--file-format", default="MINDIR", type=str.upper, metavar="|".join(FORMATS), help="default %(default)s"
    )
    made.shared("out", default=pathlib.Path("exported"), help="where the file goes")
    made.add_argument("--batch-size", type=int, metavar="N", help="pairs at a time; default any with ONNX, else 1")
    made.shared("device", "device-id", "extensions")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command: 0 done, 2 wrong usage, 3 the file was not what it should be."""
    request = Request(**vars(parser().parse_args(arguments)))
    try:
        found = checkpoint_for(request)
        with tempfile.TemporaryDirectory(prefix="uflow-mindspore-") as scratch:
            device.prepare(request.target, request.device_id, scratch)
            file, said = export(found, request)
    except (ValueError, OSError, Mismatch) as error:
        print(f"experiments.export: {error}", file=sys.stderr)
        return 3 if isinstance(error, Mismatch) else 2
    print(f"{file}: {file.stat().st_size / 1e6:.1f} MB\n{said}")
    return 0


if __name__ == "__main__":
    # MindSpore turns Ctrl-C into SIGTERM; leave by an exception, so that temporary files go
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(terminal.ended(main))
