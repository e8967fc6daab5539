"""Do verdicts on one kind of data carry over to another: the comparisons that studies make on both, held together."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable
from typing import Any

from analysis.results.failures import wilson_interval
from analysis.results.load import StudyData
from analysis.results.tables import deciding_comparisons
from analysis.statistics.rank_correlation import RankCorrelation, rank_correlation

SHOWN = ("helps", "hurts")
FEW_ARMS = 10  # with fewer the intervals are about as wide as what they could say


@dataclasses.dataclass(frozen=True, kw_only=True)
class Effect:
    """What a study shows of an arm, against the arm that it is compared with, on its deciding metric.

    Attributes:
        verdict: see `analysis.results.comparison.VERDICTS`.
        percent: mean difference in percent of what it is compared with; `None` if nothing was measured.
    """

    verdict: str
    percent: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Transfer:
    """The arms that were compared on two kinds of data.

    Attributes:
        kinds: of data.
        arms: study and label of each arm, with its effect on either kind.
    """

    kinds: tuple[str, str]
    arms: tuple[tuple[str, str, Effect, Effect], ...]

    @property
    def same(self) -> int:
        """In how many arms the verdicts are the same, `undecided` included."""
        return sum(one.verdict == other.verdict for *_, one, other in self.arms)

    @property
    def agreement(self) -> tuple[float, float, float]:
        """Share of arms with the same verdict, with Wilson's 95 % interval."""
        return (self.same / len(self.arms), *wilson_interval(self.same, len(self.arms)))

    @property
    def shown(self) -> tuple[tuple[str, str, Effect, Effect], ...]:
        """The arms that help or hurt on both kinds."""
        return tuple(arm for arm in self.arms if arm[2].verdict in SHOWN and arm[3].verdict in SHOWN)

    @property
    def same_direction(self) -> int:
        """How many of these do the same on both."""
        return sum(one.verdict == other.verdict for *_, one, other in self.shown)

    @property
    def direction(self) -> tuple[float, float, float] | None:
        """Share of the arms that help or hurt on both which do the same, with Wilson's interval; `None` without any."""
        if not self.shown:
            return None
        return (self.same_direction / len(self.shown), *wilson_interval(self.same_direction, len(self.shown)))

    @property
    def correlation(self) -> RankCorrelation | None:
        """Of the effects in percent, over the arms with both; `None` with too few."""
        effects = [(o.percent, t.percent) for *_, o, t in self.arms if o.percent is not None and t.percent is not None]
        return rank_correlation(*zip(*effects, strict=True)) if effects else None

    @property
    def plain(self) -> dict[str, Any]:
        """Everything as plain data."""
        rho = self.correlation
        return {
            "kinds": list(self.kinds),
            "arms": [
                {"study": study, "arm": arm, "effects": [dataclasses.asdict(one), dataclasses.asdict(other)]}
                for study, arm, one, other in self.arms
            ],
            "same_verdict": list(self.agreement),
            "same_direction": list(self.direction) if self.direction else None,
            "rank_correlation": dataclasses.asdict(rho) if rho else None,
        }


def transfers(studies: Iterable[StudyData]) -> tuple[Transfer, ...]:
    """How far verdicts carry over between each two kinds of data on which studies were run.

    A study that was run on several kinds is called the same, but for the name of the kind at its end. Arms that differ
    in what they change are not the same, whatever they are called.
    """
    found: dict[str, dict[tuple[str, str, str], Effect]] = {}
    for data in studies:
        plan, own = data.plan, found.setdefault(data.plan.kind, {})
        for comparison in deciding_comparisons(data):
            name = plan.study.removesuffix(f"_{plan.kind}")
            changes = repr(sorted(plan.arm(comparison.arm).changes.items()))
            own[name, comparison.arm, changes] = Effect(verdict=comparison.verdict, percent=comparison.percent)
    pairs = []
    for (one, first), (other, second) in itertools.combinations(found.items(), 2):
        arms = tuple((*key[:2], effect, second[key]) for key, effect in first.items() if key in second)
        if arms:
            pairs.append(Transfer(kinds=(one, other), arms=arms))
    return tuple(pairs)
