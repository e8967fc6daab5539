"""The command line of every command: one spelling for one thing, declared here, and the spellings that stand for it.

A flag is written with hyphens or with underscores, never cut short. `--train_on`, `--ckpt_file` and the other words of
the MindSpore port and of earlier versions are read as the flag that a command has for them.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from experiments.records.run_settings import RunSettings
from uflow.registry import did_you_mean

TARGETS = ("auto", "CPU", "GPU", "Ascend")


class _Device(argparse.Action):
    """`--device gpu:1` is GPU and the card 1."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        kind, colon, number = str(values).partition(":")
        target = {name.lower(): name for name in TARGETS}.get(kind.lower())
        numbered = target in ("GPU", "Ascend") and number.isascii() and number.isdigit()
        if target is None or (colon and not numbered):
            raise argparse.ArgumentError(self, f"must be auto, cpu, gpu, ascend, or as in gpu:1, got {values!r}")
        namespace.device = target
        if colon:
            namespace.device_id = int(number)


# what several commands take, the same in each
SHARED: Mapping[str, Mapping[str, Any]] = {
    "data": {"metavar": "NAME:PATH", "help": "data to train on, NAME:PATH[;NAME:PATH], synthetic or photos"},
    "eval": {"metavar": "NAME:PATH", "help": "data to evaluate on, NAME:PATH[;NAME:PATH], at its own size"},
    "checkpoint": {
        "metavar": "CKPT|DIR",
        "help": "a .ckpt file with its description, or a directory: of a run, or one with best.ckpt or last.ckpt",
    },
    "extensions": {
        "type": pathlib.Path,
        "action": "append",  # one each: of several, the words after them would be taken for files
        "metavar": "FILE|DIR",
        "default": [],
        "help": "components, data sets and more of your own, see docs/extensions.md; may be given several times",
    },
    "out": {"type": pathlib.Path, "metavar": "DIR", "help": "where all files go"},
    "device": {
        "action": _Device,
        "metavar": "WHICH",
        "default": "auto",
        "help": "auto, cpu, gpu or ascend; gpu:1 is one card",
    },
    "device-id": {"type": int, "metavar": "N", "default": 0, "help": "which card, if --device does not say"},
    "skip-bad": {
        "type": int,
        "metavar": "N",
        "default": 0,
        "help": "leave out up to N pairs of each set that cannot be read, and name them",
    },
    "checkpoint-seconds": {
        "type": float,
        "metavar": "S",
        "default": RunSettings.checkpoint_seconds,
        "help": "least time between checkpoints",
    },
}

# other words for a flag, in commands that have that flag and not the word itself
ALIASES: Mapping[str, str] = {
    "train-on": "data",
    "data-dir": "data",
    "eval-on": "eval",
    "ckpt-file": "checkpoint",
    "pre-trained": "checkpoint",
    "pre-ckpt-path": "checkpoint",
    "checkpoint-dir": "checkpoint",
    "output-dir": "out",
    "device-target": "device",
    "devices": "device",
}


class Parser(argparse.ArgumentParser):
    """A command line whose flags are declared with hyphens and understood in every spelling of this module.

    Args:
        aliases: more of `ALIASES`, or other meanings, for this command.
        settings: of `argparse.ArgumentParser`.
    """

    def __init__(self, *, aliases: Mapping[str, str] | None = None, **settings: Any):
        super().__init__(allow_abbrev=False, **settings)
        self._aliases = {**ALIASES, **(aliases or {})}

    def shared(self, *flags: str, **settings: Any) -> None:
        """Declares flags of `SHARED`.

        Args:
            flags: without the hyphens in front.
            settings: of `add_argument`, in place of the shared ones.
        """
        for flag in flags:
            declared = {**SHARED[flag], **settings}
            if declared.get("default") not in (None, "", []) and "%(default)s" not in declared["help"]:
                declared["help"] += " (%(default)s)"
            self.add_argument(f"--{flag}", **declared)

    def aliases(self) -> dict[str, str]:
        """The other words that this command understands, and the flag that each stands for."""
        has = self._option_string_actions
        return {
            f"--{word}": f"--{flag}"
            for word, flag in self._aliases.items()
            if f"--{flag}" in has and f"--{word}" not in has
        }

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        """Like argparse, after every flag was brought to the spelling that is declared."""
        return super().parse_known_args(self._spelled(sys.argv[1:] if args is None else args), namespace)

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        """Like argparse; for a flag that there is not it says which there are."""
        found, rest = self.parse_known_args(args, namespace)
        if rest:
            flags = [word.partition("=")[0] for word in rest if word.startswith("--")]
            known = [flag for flag in self._option_string_actions if flag.startswith("--")] + list(self.aliases())
            hints = dict.fromkeys(hint for flag in flags if (hint := did_you_mean(flag, known)))
            pairs = any("=" in word and not word.startswith("-") for word in rest)
            if pairs and "--set" in known and self._option_string_actions["--set"].nargs is None:
                hints["; every KEY=VALUE needs a --set of its own"] = None
            self.error(f"unrecognized arguments: {' '.join(rest)}{''.join(hints)}")
        return found

    def _spelled(self, words: Sequence[str]) -> list[str]:
        aliases, found = self.aliases(), []
        for number, word in enumerate(words):
            if word == "--":
                return found + list(words[number:])
            if word.startswith("--"):
                flag, equals, value = word.partition("=")
                flag = "--" + flag[2:].replace("_", "-")
                word = aliases.get(flag, flag) + equals + value
            found.append(word)
        return found

    def format_help(self) -> str:
        """The help, with the other spellings at its end."""
        words: dict[str, list[str]] = {}
        for word, flag in self.aliases().items():
            words.setdefault(flag, []).append(word)
        told = "".join(f", {' and '.join(found)} for {flag}" for flag, found in words.items())
        return f"{super().format_help()}\nFlags may be written with underscores too{told}.\n"

    def error(self, message: str) -> NoReturn:
        """Ends with exit code 2 and one sentence."""
        self.exit(2, f"{self.prog.removeprefix('python -m ')}: {message} (--help shows what there is)\n")


def parse_changes(words: Sequence[str]) -> dict[str, str]:
    """`key=value` words as a mapping; raises `ValueError` naming the first that is none, or sets a key again."""
    changes = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise ValueError(f"{word!r} is not of the form key=value, as in train.steps=100")
        if key in changes:
            raise ValueError(f"{key} is set twice, to {changes[key]!r} and to {value!r}: give it once")
        changes[key] = value
    return changes
