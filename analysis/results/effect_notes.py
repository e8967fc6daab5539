"""The sentences under the effects of the parts of a factorial."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.results.comparison import FEWEST_PAIRS, PLAIN_REASONS
from analysis.results.effects import FAMILIES, INTERACTION, MAIN, MEANING, SHAPLEY, PartEffects
from analysis.results.load import StudyData


def effect_notes(found: PartEffects, data: StudyData, level: float, alpha: float) -> Iterator[str]:
    """One sentence each: what the effects are, what p and verdicts mean, what became of failed runs."""
    kind = found.kind
    yield (
        f"with the part minus without it, in {kind.unit}, so less than 0 is better; formed within each seed; [95 %] is"
        " the t-interval over seeds"
    )
    yield from (f"{measure}: {MEANING[measure]}" for measure in found.measures)
    if found.planned < found.settings:
        yield (
            f"not there: {SHAPLEY}s, {MAIN}s and {INTERACTION}s, which need all {found.settings} settings of the"
            f" {len(found.parts)} parts; {found.planned} are planned (--arms all plans the others)"
        )
    yield _families(found, level, alpha)
    counts = sorted({c.comparison.frames for c in found.contrasts} - {None})
    yield (
        "p and verdicts are for new seeds and new frames, as in the tables"
        if counts
        else "p and verdicts are for new seeds on the same frames"
    )
    yield _equal(found)
    yield from _failures(found, data)
    reasons: dict[str, list[str]] = {}
    for contrast in found.contrasts:
        if (reason := contrast.comparison.reason) not in PLAIN_REASONS:
            said = f"{contrast.verdict}: {reason.replace('the baseline', 'the arm without it')}"
            reasons.setdefault(said, []).append(f"{contrast.label} ({contrast.measure})")
    yield from (f"{said}: {', '.join(labels)}" for said, labels in reasons.items())


def _families(found: PartEffects, level: float, alpha: float) -> str:
    words = []
    for family in FAMILIES:
        names = [name for name in family if name in found.measures]
        if names:
            count = sum(len(found.of(name)) for name in names)
            own = level if family is FAMILIES[0] else alpha
            words.append(f"the {count} of {', '.join(names)}, level {own:g}")
    return f"p is adjusted by Holm within its family: {'; '.join(words)}"


def _equal(found: PartEffects) -> str:
    margins: dict[str, list[str]] = {}
    for name in found.measures:
        half = found.of(name)[0].comparison.margin
        margins.setdefault("not known" if half is None else f"+-{half:.3g} {found.kind.unit}", []).append(name)
    words = "; ".join(f"{half} ({', '.join(measures)})" for half, measures in margins.items())
    together = (
        "; reinforce: the gain of both is shown to be more than the sum of the gains, overlap: less, add up: equal"
        if INTERACTION in found.measures
        else ""
    )
    return f"equal: inside {words}{together}"


def _failures(found: PartEffects, data: StudyData) -> Iterator[str]:
    yield (
        f"failed runs, {', '.join(FAMILIES[0])}: over the seeds in which both arms completed; failures are tested as in"
        " the tables"
    )
    if SHAPLEY not in found.measures:
        return
    if waiting := [seed for seed in data.plan.seeds if seed not in found.seeds]:
        yield (
            f"averages over all settings leave out seed {', '.join(map(str, waiting))}: not all of its runs have ended"
            " with a record that can be used"
        )
    runs, gone = len(found.seeds) * found.planned, sum(map(len, found.filled.values()))
    where = "; ".join(f"{label} (seed {', '.join(map(str, seeds))})" for label, seeds in found.filled.items())
    if not gone:
        yield f"averages over all settings: none of the {runs} runs of their {len(found.seeds)} seeds failed"
        return
    few = f", too few for a verdict: {FEWEST_PAIRS} are needed" if len(found.whole) < FEWEST_PAIRS else ""
    beside = f"beside it the same over the whole seeds, in which none failed: {len(found.whole)}{few}"
    if not found.whole:
        beside = "no seed is whole, so what the averages are without failed runs is not known"
    yield (
        f"failed runs, averages over all settings: {gone} of the {runs} runs of their {len(found.seeds)} seeds failed"
        f" and count as the worst completed run of their seed: {where}; {beside}"
    )
