"""Writes generated pairs with exact flow and occlusions as a data set in the layout of FlyingChairs.

    python -m experiments.generate photos:PICTURES --out photo_chairs --pairs 1000 --height 384 --width 512

The pairs are those of `--data photos:PICTURES` (textures from the images of a folder), `--data photos` (from those
that scikit-image and scikit-learn ship) or `--data synthetic`, with the same options. The lengths among the options,
which are made for frames of 64 px, grow with the shorter side unless they are set. The last tenth of the pairs is for
test, the last tenth before it for validation, with photographs of their own. The same command continues an
interrupted set.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from experiments.cli import flags, terminal
from experiments.cli.flags import parse_changes
from experiments.data.catalog import open_source, parse
from experiments.data.pairs import SPLITS, DataError, PairSet
from experiments.data.readers.flying_chairs import SPLIT_FILES, file_names, held_out, write_pair
from experiments.data.source_text import GENERATED
from experiments.data.synthetic.options import SceneOptions
from experiments.records import faults, json_files, locks
from experiments.records.atomic import check_writable
from experiments.spec import changed, default_spec, differing
from experiments.tracking.redaction import check_place

FAILED, INTERRUPTED = 3, 130
DESCRIPTION = "generated.json"
_KEY = "data.scenes."
_MADE_FOR = 64  # px, the shorter side that the defaults of the scenes' options are made for
_BYTES = 14  # of a pixel in the two frames and the flow; its bit in the mask is packed to less


def scene_options(height: int, width: int, pairs: int, changes: Mapping[str, Any]) -> SceneOptions:
    """The options of the scenes: `changes`, by dotted key, and lengths in proportion to the shorter side.

    Raises:
        ValueError: for keys other than those of scenes, and for invalid values.
    """
    if foreign := sorted(key for key in changes if not key.startswith(_KEY)):
        raise ValueError(f"--set {foreign[0]}: only the options of scenes can be set, as in {_KEY}radius_max=90")
    grown = {}
    for field in dataclasses.fields(SceneOptions):
        if field.metadata["unit"] == "px":
            valid = field.metadata["valid"]
            grown[_KEY + field.name] = min(max(field.default * min(height, width) / _MADE_FOR, valid.low), valid.high)
    counts = {f"{_KEY}{split}_pairs": max(1, count) for split, count in divided(pairs).items()}
    return changed(default_spec(), {**grown, **changes, **counts}).data.scenes


def divided(pairs: int) -> dict[str, int]:
    """How many of the pairs each split has, as the reader of FlyingChairs divides them."""
    test = pairs // 10
    validation = held_out(pairs - test)
    return {"train": pairs - test - validation, "validation": validation, "test": test}


@dataclasses.dataclass(frozen=True)
class GenerationPlan:
    """What a folder is to hold.

    Attributes:
        sets: the pairs of every split that has any.
        description: plain data that tells one such set from another.
    """

    sets: Mapping[str, PairSet]
    description: Mapping[str, Any]

    def __len__(self) -> int:
        return sum(map(len, self.sets.values()))

    @property
    def marks(self) -> str:
        """The content of the split file."""
        return "".join(("2\n" if split == "test" else "1\n") * len(pairs) for split, pairs in self.sets.items())

    def places(self) -> Iterator[tuple[int, PairSet, int]]:
        """The number of every pair, its set and its index there."""
        places = ((pairs, index) for pairs in self.sets.values() for index in range(len(pairs)))
        for number, (pairs, index) in enumerate(places, 1):
            yield number, pairs, index


def plan(source: str, pairs: int, height: int, width: int, changes: Mapping[str, Any]) -> GenerationPlan:
    """What is asked for, checked as far as can be without generating all of it.

    Raises:
        DataError: for a source that is not generated, and photographs that cannot be used.
        ValueError: for options that cannot be followed.
    """
    named = parse(source)
    if len(named) != 1 or named[0][0] not in GENERATED:
        raise DataError(f"{source!r} is not generated: give synthetic, photos or photos:FOLDER")
    options = scene_options(height, width, pairs, changes)
    sets = {
        split: open_source(source, split, height=height, width=width, scenes=options)
        for split, count in divided(pairs).items()
        if count
    }
    for each in sets.values():
        each.verify()
    name = named[0][0]
    description = {"source": name, "pairs": pairs, "height": height, "width": width, "scenes": options.followed(name)}
    return GenerationPlan(sets, description | {"digests": {split: each.digest for split, each in sets.items()}})


def check_out(plan: GenerationPlan, out: pathlib.Path) -> None:
    """Raises `DataError` if a folder holds something else than a part of what is planned; writes nothing."""
    if out.exists() and not out.is_dir():
        raise DataError(f"--out {out}: is a file, give a folder")
    if not out.exists():
        return
    if not (out / DESCRIPTION).exists():
        if any(not entry.name.startswith(".") for entry in out.iterdir()):
            raise DataError(f"--out {out}: holds other files, give a new or empty folder")
        return
    try:
        then = json_files.read_json(out / DESCRIPTION)
    except ValueError as error:
        raise DataError(f"--out {out}: {error}; give a new folder") from None
    if not isinstance(then, dict):
        raise DataError(f"--out {out}: {DESCRIPTION} is damaged, give a new folder")
    now = json.loads(json.dumps(plan.description))
    if then != now:
        raise DataError(
            f"--out {out}: holds other pairs, give a new folder or the same options: {differing(then, now)}"
        )


def generate(plan: GenerationPlan, out: pathlib.Path) -> int:
    """Writes what is missing in a folder and returns how many pairs that were.

    Raises:
        DataError: before anything is written if the folder holds something else, or another process writes there.
        OSError: if it cannot be written to.
    """
    check_out(plan, out)
    check_writable(out)
    with locks.held(out / ".generate.lock", give_up=lambda: True) as alone:
        if not alone:
            raise DataError(f"--out {out}: another process generates there")
        if not (out / DESCRIPTION).exists():
            json_files.write_json(out / DESCRIPTION, plan.description)
        data = out / "data"
        data.mkdir(exist_ok=True)
        json_files.atomic_write(out / SPLIT_FILES[0], plan.marks)
        there = {entry.name for entry in os.scandir(data)}
        missing = [place for place in plan.places() if not there.issuperset(file_names(place[0]))]
        needed = len(missing) * plan.description["height"] * plan.description["width"] * _BYTES
        if needed > (free := shutil.disk_usage(out).free):
            print(f"warning: {out} has {free / 1e6:.1f} MB free, {needed / 1e6:.1f} MB are needed", file=sys.stderr)
        began = shown = time.monotonic()
        for done, (number, pairs, index) in enumerate(missing, 1):
            write_pair(data, number, pairs[index])
            if (now := time.monotonic()) - shown >= 1 or done == len(missing):
                shown, speed = now, done / max(now - began, 1e-9)
                left = (len(missing) - done) / speed
                kept = len(plan) - len(missing)
                print(
                    f"{kept + done} of {len(plan)} pairs, {speed:.0f} pairs/s, about {left:.0f} s left",
                    file=sys.stderr,
                    flush=True,
                )
        return len(missing)


def parser() -> flags.Parser:
    """The command line."""
    made = flags.Parser(
        prog="python -m experiments.generate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("source", metavar="SOURCE", help="synthetic, photos or photos:FOLDER")
    made.shared("out", required=True, help="folder for the set")
    made.add_argument("--pairs", type=int, required=True, metavar="N", help="number of pairs, of all splits together")
    made.add_argument("--height", type=int, default=384, metavar="PX", help="rows of a frame (%(default)s)")
    made.add_argument("--width", type=int, default=512, metavar="PX", help="columns of a frame (%(default)s)")
    made.add_argument("--seed", type=int, metavar="N", help="another seed, another set (1)")
    made.add_argument(
        "--set", action="extend", nargs="+", default=[], metavar="KEY=VALUE", dest="changes",
        help=f"any option of the scenes, as in {_KEY}rotation_max=10",
    )  # fmt: skip
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Generates; 0 done, 2 wrong usage or bad data, 3 cannot be written, 130 interrupted."""
    made = parser()
    given = made.parse_args(argv)
    for name, least, most in (("pairs", 1, 1_000_000), ("height", 16, 8192), ("width", 16, 8192)):
        if not least <= getattr(given, name) <= most:
            made.error(f"--{name} must be {least:,} to {most:,}, got {getattr(given, name)}")
    out = given.out.expanduser()
    continues = "; whole pairs are kept, the same command goes on with them"
    try:
        check_place(out.absolute())
        changes = parse_changes(given.changes)
        if given.seed is not None:
            changes = {f"{_KEY}seed": given.seed} | changes
        asked = plan(given.source, given.pairs, given.height, given.width, changes)
        written = generate(asked, out)
    except (ValueError, OSError) as error:
        passing = faults.passing(error)
        told = f"{faults.of(error)}{continues}" if passing else error
        print(f"experiments.generate: {told}", file=sys.stderr)
        return FAILED if passing else 2
    except KeyboardInterrupt:
        print(f"experiments.generate: interrupted{continues}", file=sys.stderr)
        return INTERRUPTED
    counted = ", ".join(f"{len(asked.sets.get(split, ()))} {split}" for split in SPLITS)
    print(f"{out}: {len(asked)} pairs of {given.width}x{given.height} px ({counted}), {written} of them written now")
    print(f"as a data set: flyingchairs:{out}")
    return 0


if __name__ == "__main__":
    sys.exit(terminal.ended(main))
