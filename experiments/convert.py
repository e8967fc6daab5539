"""Puts a data set into MindRecord files, its images and flow encoded as they are.

    python -m experiments.convert flyingchairs --data FlyingChairs_release --out chairs_mindrecord

The folder that is made is read like the original: `flyingchairs:chairs_mindrecord` gives the same pairs under the same
name and digest, so that runs on either are the same run. A conversion that was stopped goes on with the same command.
"""

from __future__ import annotations

import pathlib
import shutil
import sys
import time
from collections.abc import Mapping, Sequence

from experiments.cli import flags, terminal
from experiments.data.catalog import LITERAL, readers, root_of
from experiments.data.files.file_set import FileSet, PairFiles
from experiments.data.mindrecord.plan import (
    MEGABYTE,
    PART_MEGABYTES,
    ConversionPlan,
    Part,
    bad_pairs,
    check_manifest,
    pending,
)
from experiments.data.mindrecord.reader import MANIFEST, is_converted
from experiments.data.mindrecord.writer import LARGEST_PAGE, WriteError, write_part
from experiments.data.pairs import SPLITS, DataError
from experiments.data.source_text import underscored
from experiments.records import json_files, locks
from experiments.records.atomic import check_writable
from experiments.tracking.redaction import check_place

FAILED, INTERRUPTED = 3, 130
_SEVERAL = {"sintel": ("sintel_clean", "sintel_final"), "kitti": ("kitti2012", "kitti2015")}


def names() -> tuple[str, ...]:
    """What can be converted."""
    return (*sorted({*readers(), *_SEVERAL} - {"video"}),)


def open_sets(name: str, folder: pathlib.Path, splits: Sequence[str]) -> dict[str, dict[str, FileSet]]:
    """The sets that a name stands for, by name and split; `kitti` is that of the year whose layout the folder has.

    Raises:
        DataError: if a data set cannot be found there.
    """
    chosen = _SEVERAL.get(name, (name,))
    if folder.is_file():
        raise DataError(f"{folder}: is a file, give the folder of a data set")
    folder = folder if name in LITERAL else root_of(folder)
    if name == "kitti":
        later = any((folder / part / "image_2").is_dir() for part in ("training", "testing"))
        chosen = ("kitti2015",) if later else ("kitti2012",)
    if is_converted(folder):
        raise DataError(f"{folder}: is a converted data set, give the folder of the original")
    return {each: {split: readers()[each](folder, split) for split in splits} for each in chosen}


class ConversionProgress:
    """Says on stderr, once a second at most, how far a conversion is."""

    def __init__(self, done: int, total: int):
        self.before = self.pairs = done
        self.total, self.bytes = total, 0
        self.began = self.shown = time.monotonic()

    def __call__(self, size: int) -> None:
        """One more pair."""
        self.pairs += 1
        self.bytes += size
        if (now := time.monotonic()) - self.shown >= 1:
            self.shown = now
            self.show()

    def show(self) -> None:
        """Prints a line."""
        seconds = max(time.monotonic() - self.began, 1e-9)
        speed = (self.pairs - self.before) / seconds
        left = f", about {(self.total - self.pairs) / speed:.0f} s left" if speed else ""
        rates = f"{speed:.0f} pairs/s, {self.bytes / seconds / 1e6:.0f} MB/s"
        print(f"{self.pairs} of {self.total} pairs, {rates}{left}", file=sys.stderr, flush=True)


def check_bad(bad: Mapping[str, str], tolerated: int) -> None:
    """Raises `DataError` if there are more bad pairs than are tolerated."""
    if len(bad) > tolerated:
        counted = f"{len(bad)} bad pair{'s' if len(bad) > 1 else ''} so far, --skip-bad N leaves up to N out"
        raise DataError("\n".join((*bad.values(), counted)))


def convert(plan: ConversionPlan, out: pathlib.Path, shard: int, skip_bad: int) -> tuple[list[Part], Mapping[str, str]]:
    """Converts what is missing of a shard, and returns the parts that were written and the pairs that are left out.

    Raises:
        DataError: before anything is written if a header or a length is wrong, or the folder holds another conversion;
            on the way if a pair cannot be decoded.
        WriteError: if a part cannot be written.
    """
    check_manifest(plan, out)
    parts = pending(plan, out, shard)
    bad = bad_pairs(plan, out, shard)
    check_bad(bad, skip_bad)
    check_writable(out)

    def found(pair: PairFiles, problem: str) -> None:
        bad[plan.label(pair)] = problem
        check_bad(bad, skip_bad)

    with locks.held(out / f".shard-{shard:05}.lock", give_up=lambda: True) as alone:
        if not alone:
            raise DataError(f"{out}: another process converts shard {shard}")
        if not (out / MANIFEST).exists():
            json_files.write_json(out / MANIFEST, plan.manifest)
        needed, free = sum(part.bytes for part in parts), shutil.disk_usage(out).free
        if needed > free:
            print(f"warning: {out} has {free / 1e6:.1f} MB free, {needed / 1e6:.1f} MB are needed", file=sys.stderr)
        total = sum(len(part.pairs) for part in plan.parts if part.shard == shard)
        progress = ConversionProgress(total - sum(len(part.pairs) for part in parts), total)
        for part in parts:
            write_part(plan, part, out, found, progress)
        if parts:
            progress.show()
    return parts, bad


def parser() -> flags.Parser:
    """The command line."""
    made = flags.Parser(
        prog="python -m experiments.convert", description=__doc__.split("\n\n")[0], epilog=__doc__.split("\n\n")[2]
    )
    which = f"which data set: {', '.join(names())}"
    made.add_argument("name", choices=names(), type=underscored, metavar="NAME", help=which)
    made.shared("data", type=pathlib.Path, required=True, metavar="DIR", help="folder of the data set")
    made.shared("out", required=True, help="folder for the result")
    made.add_argument("--shard", type=int, default=0, metavar="K", help="which share of the work, from 0 (%(default)s)")
    made.add_argument("--num-shards", type=int, default=1, metavar="N", help="processes that share it (%(default)s)")
    made.add_argument("--split", choices=(*SPLITS, "all"), default="all", help="which pairs (%(default)s)")
    made.shared("skip-bad")
    made.add_argument(
        "--part-mb", type=int, default=PART_MEGABYTES, metavar="M", help="size of a part in MiB, 1 to 255 (%(default)s)"
    )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Converts; 0 done, 2 wrong usage or bad data, 3 cannot be written, 130 interrupted."""
    made = parser()
    given = made.parse_args(argv)
    if not 0 <= given.shard < given.num_shards:
        made.error(f"--shard must be 0 to {given.num_shards - 1} with --num-shards {given.num_shards}")
    if not 1 <= given.part_mb < LARGEST_PAGE // MEGABYTE or given.skip_bad < 0:
        made.error("--part-mb must be 1 to 255, --skip-bad not negative")
    root, out = given.data.expanduser(), given.out.expanduser()
    continues = "; whole parts are kept, the same command goes on with them"
    try:
        check_place(out.absolute())
        sets = open_sets(given.name, root, SPLITS if given.split == "all" else (given.split,))
        plan = ConversionPlan(root, sets, given.num_shards, given.part_mb * MEGABYTE)
        began = time.monotonic()
        parts, bad = convert(plan, out, given.shard, given.skip_bad)
    except (ValueError, OSError) as error:
        print(f"experiments.convert: {error}", file=sys.stderr)
        return 2
    except WriteError as error:
        print(f"experiments.convert: {error}{continues}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print(f"experiments.convert: interrupted{continues}", file=sys.stderr)
        return INTERRUPTED
    for problem in bad.values():
        print(f"left out: {problem}", file=sys.stderr)
    _summarize(plan, out, given.shard, parts, time.monotonic() - began)
    return 0


def _summarize(plan: ConversionPlan, out: pathlib.Path, shard: int, written: list[Part], seconds: float) -> None:
    for name, splits in plan.manifest["sets"].items():
        for split, known in splits.items():
            print(f"{name} {split}: {known['pairs']} pairs, digest {known['digest'][:16]}")
            if known["note"]:
                print(f"  {known['note']}")
    ours = [part for part in plan.parts if part.shard == shard]
    source = sum(path.stat().st_size for part in ours for path in part.files)
    stored = sum(p.stat().st_size for part in ours for p in out.glob(f"{part.name}.*"))
    pairs = sum(len(part.pairs) for part in ours)
    print(
        f"{out}: shard {shard} of {plan.num_shards} is whole, {pairs} pairs in {len(ours)} parts, {stored} bytes",
        end="",
    )
    print(f" for {source} bytes of source files" + (f" ({stored / source:.4f})" if source else ""))
    if written:
        count = sum(len(part.pairs) for part in written)
        print(f"{count} pairs were converted in {seconds:.1f} s, checks included ({count / seconds:.0f} pairs/s)")
    others = sorted({s for s in range(plan.num_shards) if pending(plan, out, s)})
    if others:
        print(f"still to do: --shard {', '.join(map(str, others))}")


if __name__ == "__main__":
    sys.exit(terminal.ended(main))
