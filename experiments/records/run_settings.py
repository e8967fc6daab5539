"""How a run is executed, as one value: declared here, and handed as JSON to the process that trains."""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any, Self


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSettings:
    """How a run is executed; nothing here changes its result.

    Attributes:
        out: directory that holds `runs/` and `prefixes/`.
        device: one of `experiments.training.device.TARGETS`.
        device_id: which card.
        shared_steps: steps until which other runs train the same.
        checkpoint_seconds: least time between checkpoints, s.
        sources: where the data is on this machine, by key (`data.source`, `evaluation.source`), if not where the spec
            says.
        directory: of the run, instead of one in `out/runs` with its name.
        portable: whether `best.ckpt` and `last.ckpt` are kept, for use elsewhere.
        initial: the checkpoint that the run starts from, if its spec names one.
        exceptions: whether an exception is recorded as the result of the run; else it is raised.
        wait: whether to wait for another process that is at the same run; else it is an error.
        extensions: files that bring components and data sets, see `uflow.extensions`; what of them changes the result
            is in the spec.

    Raises:
        ValueError: if a time is negative or not finite.
    """

    out: pathlib.Path
    device: str = "auto"
    device_id: int = 0
    shared_steps: tuple[int, ...] = ()
    checkpoint_seconds: float = 30.0
    sources: Mapping[str, str] = dataclasses.field(default_factory=dict)
    directory: pathlib.Path | None = None
    portable: bool = False
    initial: pathlib.Path | None = None
    exceptions: bool = True
    wait: bool = True
    extensions: tuple[pathlib.Path, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.checkpoint_seconds < math.inf:
            raise ValueError(f"--checkpoint-seconds must be 0 or more, got {self.checkpoint_seconds:g}")

    def to_json(self) -> str:
        """The settings for `from_json` of another process."""
        return json.dumps(plain(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The settings that `to_json` has written.

        Raises:
            ValueError: if it has not.
        """
        try:
            return cls.from_plain(json.loads(text))
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise ValueError(f"--settings {text!r}: not the settings of a run ({error})") from None

    @classmethod
    def from_plain(cls, content: Mapping[str, Any]) -> Self:
        """The settings out of what `plain` and JSON have made of them."""
        paths = {key: pathlib.Path(content[key]) for key in ("out", "directory", "initial") if content.get(key)}
        many = {
            "shared_steps": tuple(content.get("shared_steps", ())),
            "extensions": tuple(map(pathlib.Path, content.get("extensions", ()))),
        }
        return cls(**{**content, **paths, **many})


def plain(value: Any) -> dict[str, Any]:
    """The fields of a dataclass that are not the defaults, those of dataclasses in it alike."""
    found = {}
    for field in dataclasses.fields(value):
        own = getattr(value, field.name)
        made = field.default_factory is not dataclasses.MISSING
        if own != (field.default_factory() if made else field.default):
            found[field.name] = plain(own) if dataclasses.is_dataclass(own) else own
    return found


def sources_of(data: str | None, evaluated: str | None) -> dict[str, str]:
    """What `--data` and `--eval` say, by the keys of a spec; without what they do not say."""
    given = {"data.source": data, "evaluation.source": evaluated}
    return {key: source for key, source in given.items() if source}
