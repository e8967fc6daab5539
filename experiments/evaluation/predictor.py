"""A trained network as commands use it: from what the command line says to the flow of pairs."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import signal
import sys
from collections.abc import Iterator
from typing import Any

from experiments.cli.flags import SHARED, Parser
from experiments.data.pairs import DataError, Pair
from experiments.evaluation.estimation import Estimator
from experiments.spec import ExperimentSpec
from experiments.training import checkpoints, weights
from uflow import extensions, registry
from uflow.interfaces import Occlusion
from uflow.models.compatibility import working_size_problem


def add_arguments(parser: Parser, size: str = "that of the frames") -> None:
    """Adds the options that say which network is used, how and where.

    Args:
        parser: of a command.
        size: what the command takes if no size is given.
    """
    usual = "; default: a small network that comes with the project, trained on moving parts of photographs"
    parser.shared("checkpoint", help=SHARED["checkpoint"]["help"] + usual)
    parser.add_argument("--height", type=int, metavar="PX", help=f"rows at which the network works; default: {size}")
    parser.add_argument(
        "--width", type=int, metavar="PX", help="columns at which the network works, given with --height"
    )
    parser.add_argument(
        "--occlusion",
        metavar="NAME",
        help="what finds hidden pixels; default: what the network was trained with; none: nothing does (names:"
        f" {', '.join(n for n in registry.names('occlusion') if n != 'ground_truth')})",
    )
    parser.add_argument(
        "--confidence",
        action="store_true",
        help="also say how far forward and backward flow agree, which takes both; needs --occlusion, or a network that"
        " was trained with one",
    )
    parser.shared("device", "device-id", "extensions")


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Makes SIGTERM end the block as Ctrl-C does, so that it can clean up; MindSpore turns the one into the other."""

    def stop(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@dataclasses.dataclass(frozen=True)
class Predictor:
    """A checkpoint, the size at which its network works, and what finds occlusions; loads nothing by itself.

    Attributes:
        trained: the checkpoint.
        size: height and width at which the network works; `None` means those of each frame. Both are rounded up to a
            multiple that the network needs.
        occlusion: component of the occlusion axis; `None` if nothing is to be said of it.
        confidence: whether the agreement of forward and backward flow is estimated.
    """

    trained: weights.Trained
    size: tuple[int, int] | None = None
    occlusion: Occlusion | None = None
    confidence: bool = False

    @property
    def title(self) -> str:
        """The file of the checkpoint."""
        return str(self.trained.file)

    @property
    def spec(self) -> ExperimentSpec:
        """The spec of the run that the checkpoint is of, as far as it tells."""
        return self.trained.spec

    @property
    def own_data(self) -> str | None:
        """What the run of the checkpoint is evaluated on; `None` if the checkpoint does not tell."""
        return (self.spec.evaluation.source or self.spec.data.source) if self.trained.whole else None

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> Predictor:
        """What the options of `add_arguments` say; the extensions are loaded.

        Raises:
            ValueError: naming what is wrong with them or with the checkpoint.
        """
        size = (arguments.height, arguments.width)
        if (size[0] is None) != (size[1] is None):
            raise ValueError("--height and --width are given together or not at all")
        extensions.load(arguments.extensions)
        found = weights.find(arguments.checkpoint or weights.RELEASED)
        if not arguments.checkpoint:
            print(
                f"no --checkpoint is given: {found.file.name}, which comes with the project, is used", file=sys.stderr
            )
        size = None if size[0] is None else size
        if size and (problem := working_size_problem(found.spec.network, *size)):
            raise ValueError(f"--height {size[0]} --width {size[1]}: {problem}")
        occlusion = _occlusion(found, arguments.occlusion)
        if arguments.confidence and occlusion is None:
            raise ValueError(
                "--confidence compares the flows of both directions, as occlusion does, and there is none: give"
                " --occlusion NAME, such as brox"
            )
        return cls(found, size, occlusion, arguments.confidence)

    def describe(self) -> dict[str, Any]:
        """Plain data that says what was computed: file, digest, network, size and occlusion component."""
        spec = self.trained.spec
        return {
            "checkpoint": {
                "file": self.trained.file.name,
                "sha256": checkpoints.file_digest(self.trained.file),
                "run_id": spec.run_id if self.trained.whole else None,
            },
            "network": _plain(spec.network),
            "normalization": _plain(spec.normalization),
            "size": list(self.size) if self.size else None,
            "occlusion": _plain(self.occlusion) if self.occlusion else None,
        }

    def check(self, pair: Pair) -> Pair:
        """The pair itself; raises `DataError` if its frames are too small for the network."""
        height, width = pair.first.shape[:2]
        if self.size is None and (problem := working_size_problem(self.spec.network, height, width)):
            raise DataError(f"pair {pair.name}: {problem}, or a larger working size (--height --width)")
        return pair

    def load(self) -> Estimator:
        """The network, ready to be used; raises `records.RecordError` if the checkpoint is damaged."""
        from uflow.models.inference import Inference, OcclusionInference

        network = Inference(self.trained.network(), self.size)
        network.set_train(False)
        hidden = OcclusionInference(network, self.occlusion, self.confidence) if self.occlusion else None
        if hidden is not None:
            hidden.set_train(False)
        return Estimator(network, hidden, self.confidence)


def _plain(component: Any) -> dict[str, Any]:
    return {"name": registry.entry_of(component).name, **dataclasses.asdict(component)}


def _occlusion(found: weights.Trained, name: str | None) -> Occlusion | None:
    """The component that is asked for; `None` for `none` and for what needs the truth."""
    own = registry.entry_of(found.spec.occlusion)
    if name is not None:
        asked = registry.entry("occlusion", name)
        if "true_occlusion" in asked.needs:
            raise ValueError(f"--occlusion {name}: is the truth, and cannot be estimated")
    else:
        asked = own
    if asked.name == "none" or "true_occlusion" in asked.needs:
        return None
    return found.spec.occlusion if asked.name == own.name else registry.build("occlusion", asked.name)
