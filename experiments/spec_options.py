"""The sections of a spec beside its components: options of training, data and evaluation; needs no MindSpore."""

from __future__ import annotations

import dataclasses

from experiments.data.augmentation.options import AugmentationOptions
from experiments.data.synthetic.options import SceneOptions
from uflow import schedule
from uflow.ops.precision import LEVELS
from uflow.options import FLAG, Choices, Range, Text, option, section

PROTOCOL = "full/1"  # raise when the evaluation would turn the same flow into another number


@section
class TrainOptions:
    """Training hyper-parameters."""

    steps: int = option(1_000_000, Range(1, 100_000_000), help="training steps")
    batch_size: int = option(1, Range(1, 4096), help="image pairs a step")
    learning_rate: float = option(
        1e-4, Range(1e-9, 10.0), search=Range(1e-5, 1e-2, log=True), help="learning rate before decay"
    )
    optimizer: str = option("adam", Choices(("adam", "sgd")), help="how gradients change the parameters")
    decay: str = option(
        "none",
        Choices(schedule.DECAYS),
        help="how the learning rate falls; one_cycle: it rises before, during warmup, and falls until the last step",
    )
    decay_start: float = option(0.0, Range(0.0, 1.0), help="share of training at which the decay starts")
    decay_length: float = option(1.0, Range(0.0, 1.0), help="share of training in which it falls to 0 (or by half)")
    warmup: float = option(
        0.0,
        Range(0.0, 1.0),
        search=Range(0.0, 0.2),
        help="share of training in which the learning rate first grows linearly",
        later=True,
    )
    clip_norm: float = option(
        0.0,
        Range(0.0, 1e6),
        search=Range(0.1, 10.0, log=True),
        help="largest norm of the gradient of all parameters together, which is shortened to it; 0 = any",
        later=True,
    )
    weight_decay: float = option(
        0.0,
        Range(0.0, 10.0),
        search=Range(1e-6, 1e-2, log=True),
        help="share of the parameters that is taken off at a step, times the learning rate (decoupled, AdamW)",
        later=True,
    )
    only_forward: bool = option(False, FLAG, help="leave out the losses of the flow from second to first frames")
    supervised: bool = option(False, FLAG, help="train on ground-truth flow (supervised reference)")
    validations: int = option(4, Range(0, 1000), help="how often a few validation pairs are evaluated on the way")
    collapse_below: float = option(
        0.1, Range(0.0, 1.0), help="visible share of pixels under which a run that uses a mask counts as collapsed"
    )
    initial: str = option("", Text("a digest of the content"), help="filled in: weights at the start; '' = drawn")
    amp: str = option("O0", Choices(LEVELS), help="what is computed in float16: nothing, convolutions, the network")
    loss_scale: float = option(1024.0, Range(1.0, 2.0**24), help="factor of the loss for its gradients in float16")

    @property
    def restrained(self) -> bool:
        """Whether gradients are clipped or parameters decay."""
        return self.clip_norm > 0 or self.weight_decay > 0


@section
class DataOptions:
    """What is trained on."""

    source: str = option("synthetic", Text("a data set, NAME or NAME:PATH[;NAME:PATH]"), help="data to train on")
    digest: str = option("", Text("a digest of the content"), help="filled in: what the source held")
    height: int = option(384, Range(16, 8192), unit="px", help="rows that training images are resized to")
    width: int = option(512, Range(16, 8192), unit="px", help="columns that training images are resized to")
    fit: str = option("resize", Choices(("resize", "crop")), help="how frames are brought to height and width")
    margin: int = option(
        0,
        Range(0, 8192),
        unit="px",
        help="how far around a crop losses look up what moves out of it (fit=crop; full-image warping); 0 = not at all",
        later=True,
    )
    scene_height: int = option(
        0,
        Range(0, 8192),
        unit="px",
        help="rows that generated scenes are drawn with, for training and evaluation; 0 = height",
        later=True,
    )
    scene_width: int = option(
        0,
        Range(0, 8192),
        unit="px",
        help="columns that generated scenes are drawn with, given with scene_height; 0 = width",
        later=True,
    )
    augmentation: AugmentationOptions = dataclasses.field(default_factory=AugmentationOptions)
    scenes: SceneOptions = dataclasses.field(default_factory=SceneOptions)

    @property
    def scene_size(self) -> tuple[int, int]:
        """Height and width of the frames of generated scenes, before they are brought to those of training."""
        return (self.scene_height or self.height, self.scene_width or self.width)

    def conflicts(self) -> list[str]:
        """Options that exclude each other."""
        found = []
        if self.margin and self.fit != "crop":
            found.append(
                f"margin={self.margin} needs fit=crop: there is nothing around frames that are resized as a whole"
            )
        if bool(self.scene_height) != bool(self.scene_width):
            found.append(f"scene_height={self.scene_height} and scene_width={self.scene_width}: give both or neither")
        return found


@section
class EvaluationOptions:
    """What the result is measured on."""

    source: str = option(
        "", Text("a data set, NAME or NAME:PATH[;NAME:PATH]"), help="data to evaluate on; '' = train's"
    )
    digest: str = option("", Text("a digest of the content"), help="filled in: what the source held")
    protocol: str = option(PROTOCOL, Choices((PROTOCOL,)), help="name and version of the evaluation")
    height: int = option(0, Range(0, 8192), unit="px", help="rows at which the network works then; 0 = the frames'")
    width: int = option(0, Range(0, 8192), unit="px", help="columns at which it does, given with evaluation.height")
    regions: str = option(
        "",
        Text("regions of extensions, NAME[,NAME]"),
        help="regions of extensions to measure, too, NAME[,NAME]; their digests are filled in",
        later=True,
    )

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width at which the network works; `None` means those of each frame."""
        return (self.height, self.width) if self.height and self.width else None

    @property
    def numbers(self) -> str:
        """The protocol and the size, which make numbers comparable."""
        return protocol_at(self.protocol, self.size)


def protocol_at(protocol: str, size: tuple[int, int] | None) -> str:
    """The name of a protocol for a network that works at a size: `full/1`, or `full/1@384x512`.

    Images are resized to that size, the flow is resized and scaled back, and measured on the ground truth as it is.
    """
    return protocol if size is None else f"{protocol}@{size[0]}x{size[1]}"
