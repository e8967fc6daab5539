"""What each part of a factorial is worth, as values; `analysis.results.contrasts` computes them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from analysis.results.comparison import Comparison
from analysis.results.metric_kinds import MetricKind
from analysis.statistics.bootstrap import CrossedInterval

LEFT_OUT, ADDED, ALL_PARTS = "leave one out", "add one in", "all parts"
SHAPLEY, MAIN, INTERACTION = "Shapley value", "main effect", "interaction"
MEANING = {
    LEFT_OUT: "everything minus everything but the part",
    ADDED: "the part alone minus nothing",
    ALL_PARTS: "everything minus nothing",
    SHAPLEY: "what the part adds, averaged over all orders of adding the parts; they add up to all parts",
    MAIN: "the settings with the part minus those without it, all settings alike",
    INTERACTION: "how much the effect of one part changes when the other is switched on",
}
FAMILIES = ((LEFT_OUT, ADDED, ALL_PARTS), (SHAPLEY,), (MAIN,), (INTERACTION,))
# The difference of two differences is neither good nor bad by itself.
TOGETHER = {"helps": "reinforce", "hurts": "overlap", "equal": "add up"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contrast:
    """The effect of a part by one measure, or of two parts on each other.

    Attributes:
        measure: a key of `MEANING`.
        parts: names of the parts: one, two of an interaction, none of all parts.
        comparison: with the part minus without it, with p values, adjusted in its family, and verdict.
        crossed: bootstrap interval over seeds and frames.
        whole: the same over the seeds in which no run failed; `None` if there are none, or all are whole.
    """

    measure: str
    parts: tuple[str, ...]
    comparison: Comparison
    crossed: CrossedInterval | None = None
    whole: Comparison | None = None

    @property
    def label(self) -> str:
        """The parts in words."""
        return " x ".join(self.parts) or "all together"

    @property
    def verdict(self) -> str:
        """What is shown; of an interaction `reinforce`, `overlap`, `add up` or `undecided`."""
        return in_words(self.measure, self.comparison)


def in_words(measure: str, comparison: Comparison) -> str:
    """The verdict in the words of a measure."""
    return TOGETHER.get(comparison.verdict, comparison.verdict) if measure == INTERACTION else comparison.verdict


@dataclasses.dataclass(frozen=True, kw_only=True)
class PartEffects:
    """The effects of the parts of a factorial on one metric.

    Attributes:
        study, metric: names.
        kind: unit and margin of the effects.
        parts: names of the parts, in the study's order.
        contrasts: measure by measure, the parts in their order.
        settings, planned: how many settings the parts have, and how many of them the study has.
        seeds, whole: the seeds behind the averages over all settings, and those of them in which no run failed.
        filled: seeds of the failed runs that count as the worst completed run of their seed, by arm.
        notes: a sentence each.
    """

    study: str
    metric: str
    kind: MetricKind
    parts: tuple[str, ...]
    contrasts: tuple[Contrast, ...]
    settings: int
    planned: int
    seeds: tuple[int, ...]
    whole: tuple[int, ...]
    filled: Mapping[str, tuple[int, ...]]
    notes: tuple[str, ...] = ()

    def of(self, measure: str) -> list[Contrast]:
        """The contrasts of a measure."""
        return [contrast for contrast in self.contrasts if contrast.measure == measure]

    @property
    def measures(self) -> tuple[str, ...]:
        """The measures that there are."""
        return tuple(dict.fromkeys(contrast.measure for contrast in self.contrasts))

    @property
    def title(self) -> str:
        """What the effects are about, in one line."""
        return f"{self.study}: which part matters, by {self.metric}"
