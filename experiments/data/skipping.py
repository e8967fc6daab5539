"""Pairs that cannot be read are left out, up to a number, and named; none is left out silently."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import hashlib
import os

from experiments.data.pairs import DataError, Pair, PairSet, check_index


@dataclasses.dataclass(frozen=True)
class Skipping:
    """A set without those of its pairs that cannot be read.

    Args:
        pairs: the whole set.
        bad: what is wrong with the pairs that are left out, by index, ascending.
    """

    pairs: PairSet
    bad: dict[int, str]

    @property
    def name(self) -> str:
        """The name of the whole set."""
        return self.pairs.name

    @property
    def note(self) -> str:
        """The note of the whole set, and how many pairs are missing."""
        missing = f"{self.name} without {len(self.bad)} of {len(self.pairs)} pairs, which cannot be read"
        return "; ".join(filter(None, [self.pairs.note, missing]))

    @property
    def provides(self) -> frozenset[str]:
        """The ground truth that every pair has."""
        return self.pairs.provides

    @functools.cached_property
    def digest(self) -> str:
        """Hash of the digest of the whole set and of the indices that are left out."""
        return hashlib.sha256(f"{self.pairs.digest} without {sorted(self.bad)}".encode()).hexdigest()

    @functools.cached_property
    def _kept(self) -> tuple[int, ...]:
        return tuple(i for i in range(len(self.pairs)) if i not in self.bad)

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, index: int) -> Pair:
        check_index(index, self)
        return self.pairs[self._kept[index]]

    def verify(self) -> None:
        """Does nothing: every pair that is left was read."""


def problems(pairs: PairSet, most: int) -> dict[int, str]:
    """What is wrong with the pairs that cannot be read, by index; stops when more than `most` were found.

    Every pair is read, for a file may be damaged behind a header that is right.
    """
    found: dict[int, str] = {}
    threads = min(8, os.cpu_count() or 1)
    with concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="check") as pool:
        for start in range(0, len(pairs), 16 * threads):
            indices = range(start, min(start + 16 * threads, len(pairs)))
            read = zip(indices, pool.map(functools.partial(_problem, pairs), indices), strict=True)
            found |= {index: problem for index, problem in read if problem}
            if len(found) > most:
                break
    return found


def _problem(pairs: PairSet, index: int) -> str:
    try:
        pairs[index]
    except (DataError, OSError) as error:
        return " ".join(str(error).split())
    return ""


def without_bad(pairs: PairSet, allowed: int) -> PairSet:
    """The set as it is if all pairs can be read or none may be bad (`allowed` = 0), else without the bad ones.

    With `allowed` = 0 nothing is read here: `pairs.verify()` and reading say what is wrong. Training and evaluation see
    a set of the pairs that are left, with a digest of its own, so that their numbers are not taken for those of the
    whole set.

    Raises:
        DataError: if more than `allowed` pairs are bad, or all of them; naming them.
    """
    if allowed < 0:
        raise DataError(f"the number of bad pairs that may be skipped must be at least 0, got {allowed}")
    if allowed == 0:
        return pairs
    bad = problems(pairs, allowed)
    if len(bad) > allowed:
        named = "; ".join(bad.values())
        raise DataError(f"{pairs.name}: more than the {allowed} pairs that may be skipped cannot be read: {named}")
    if bad and len(bad) == len(pairs):
        raise DataError(f"{pairs.name}: no pair can be read: {'; '.join(bad.values())}")
    return Skipping(pairs, bad) if bad else pairs
