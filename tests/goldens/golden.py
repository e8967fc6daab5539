"""One file of inputs and outputs of the reference: which keys were compared, how well, and at which tolerance."""

import dataclasses
import json
import pathlib
import re

import numpy as np

SMALL = pathlib.Path(__file__).parent / "small"


@dataclasses.dataclass(frozen=True)
class Bound:
    """How far a value may be from the reference: `absolute` plus a share of the largest value of the array.

    Relative means of the maximum, as in the noise that the manifests give for the reference itself: differences of
    nearly equal numbers, as in the variances of SSIM, have no correct digits where they are small.
    """

    absolute: float = 0.0
    of_max: float = 0.0
    at_least_one: bool = False  # the maximum is taken as 1 if it is smaller

    def limit(self, wanted):
        largest = np.abs(wanted).max() if wanted.size else 0.0
        largest = max(1.0, largest) if self.at_least_one else largest
        return self.absolute + self.of_max * largest


EXACT = Bound()


def bound(text, word=""):
    """The tolerance that a manifest's sentence gives for what `word` names, or without a word its first one."""
    clauses = re.split(r";\s*|,\s+|\s\(", text)
    clause = next((c for c in clauses if word in c), None)
    if clause is None:
        raise KeyError(f"the tolerance {text!r} says nothing about {word!r}")
    if "exact" in clause:
        return EXACT
    found = {kind: float(number) for kind, number in re.findall(r"(rel-to-max|rel|abs)\s+([\d.]+(?:e-?\d+)?)", clause)}
    if not found:  # "hue 1e-3"
        found = {"abs": float(re.search(r"[\d.]+e-?\d+", clause)[0])}
    if "abs" in found and re.search(r"\*max", clause):
        return Bound(of_max=found["abs"], at_least_one="max(1," in clause)
    return Bound(found.get("abs", 0.0), found.get("rel-to-max", found.get("rel", 0.0)))


def manifest(directory):
    """Parameters, tolerance and keys of every file of a directory."""
    return json.loads((pathlib.Path(directory) / "manifest.json").read_text())


class Golden:
    """A file of a directory of goldens; remembers which keys were read and the worst error."""

    def __init__(self, directory, name):
        self.directory, self.name = pathlib.Path(directory), name
        self.arrays = np.load(self.directory / f"{name}.npz")
        entries = manifest(self.directory)
        if name not in entries:
            raise KeyError(f"{name}.npz: manifest.json says nothing about it, neither parameters nor tolerance")
        self.entry = entries[name]
        self.unread = set(self.arrays.files)
        self.cases, self.worst, self.worst_key, self.failures, self.conditioned = 0, 0.0, "", [], []
        self.errors = []  # key and worst error of each comparison

    def __contains__(self, key):
        return key in self.arrays.files

    def __getitem__(self, key):
        self.unread.discard(key)
        return self.arrays[key]

    def matching(self, pattern):
        """Matches of all keys with a regular expression, in the order of the file."""
        return [match for key in self.arrays.files if (match := re.fullmatch(pattern, key))]

    def tolerance(self, word=""):
        return bound(self.entry["tol"], word)

    def check(self, key, got, tolerance, ignore=None, noise=None):
        """Compares with the reference's value under `key`; failures are collected so that a report names all."""
        self.compare(key, got, self[key], tolerance, ignore, noise)

    def compare(self, key, got, wanted, tolerance, ignore=None, noise=None):
        """Compares an array with the reference's.

        Args:
            key: what it is called in the report.
            got: ours.
            wanted: the reference's.
            tolerance: the manifest's.
            ignore: where a difference does not count.
            noise: a function that measures how far our own value moves when the inputs change by their last bit; called
                if the tolerance is exceeded. A value that moves farther than the tolerance has no digits to compare
                beyond that; the report says so.
        """
        got, wanted = np.asarray(got, np.float64), np.asarray(wanted, np.float64)
        self.cases += 1
        if got.shape != wanted.shape:
            self.failures.append(f"{key}: shape {got.shape}, wanted {wanted.shape}")
            return
        error = np.abs(got - wanted)
        if ignore is not None:
            error = np.where(ignore, 0.0, error)
        worst = float(error.max(initial=0.0)) / max(float(np.abs(wanted).max(initial=0.0)), 1e-30)
        self.errors.append((key, worst))
        if worst > self.worst and error.max() > 0:
            self.worst, self.worst_key = worst, key
        if (error <= tolerance.limit(wanted)).all():
            return
        noise = float(noise()) if noise else 0.0
        if noise and (error <= noise).all():
            self.conditioned.append(f"{key}: off by {error.max():.3g}, {noise:.3g} by a change of the last bit")
        else:
            self.failures.append(
                f"{key}: off by {error.max():.3g} ({worst:.3g} of the maximum), allowed {tolerance}, noise {noise:.3g}"
            )

    def finish(self):
        """Fails if a comparison did or if something in the file was not looked at."""
        assert not self.failures, "\n".join(self.failures)
        assert not self.unread, f"not looked at in {self.name}: {sorted(self.unread)}"


def planes(x):
    """(..., H, W, C) as (..., C, H, W)."""
    return np.ascontiguousarray(np.moveaxis(np.asarray(x), -1, -3))


def pixels(x):
    """(..., C, H, W) as (..., H, W, C)."""
    return np.moveaxis(np.asarray(x), -3, -1)


def flow_planes(x):
    """A flow (..., H, W, (y, x)) as (..., (x, y), H, W)."""
    return planes(np.asarray(x)[..., ::-1])


def flow_pixels(x):
    """A flow (..., (x, y), H, W) as (..., H, W, (y, x))."""
    return pixels(x)[..., ::-1]
