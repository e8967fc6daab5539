"""Figures of a report as SVG text; the same numbers give the same bytes, and no color carries a meaning alone.

Colors: Okabe and Ito, Color Universal Design, 2008. A verdict is told by the shape of its mark and in words too, an
arm's curve by its line style.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.paper.findings import NOT_SEEN
from analysis.paper.overview import Overview
from analysis.report.text_tables import row_label
from analysis.results.comparison import Comparison
from analysis.results.curves import Curve, expected_best
from analysis.results.tables import ComparisonTable
from experiments.records.labels import fold

BLUE, ORANGE, GREEN, PINK, SKY, AMBER, BLACK = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#E69F00",
    "#000000",
)
GRAY = "#6b6b6b"
MARKS = {"helps": ("o", BLUE), "hurts": ("s", ORANGE), "equal": ("D", GREEN), "undecided": ("x", GRAY)}
STATUS_COLORS = {"reproduced": BLUE, "reversed": ORANGE, NOT_SEEN: GREEN, "undecided": GRAY}
LINES = [
    (color, style) for style in ("-", (0, (5, 2)), (0, (1, 1.5))) for color in (BLUE, ORANGE, GREEN, PINK, SKY, AMBER)
]
SETTINGS = {
    "svg.fonttype": "none",  # text stays text: it can be searched, and read out
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,  # labels are names, not formulas
}


def forest(table: ComparisonTable) -> str:
    """Difference of every arm from the baseline with its 95 % interval, the zone of equality and the verdicts."""
    rows = [row for row in table.rows if row.comparison is not None]
    with matplotlib.rc_context(SETTINGS):
        names = [_folded(row_label(table, row)) for row in rows]
        lines = sum(1 + 0.5 * name.count("\n") for name in names)
        figure = Figure(figsize=(9, 1.5 + 0.42 * max(1, lines)), layout="constrained")
        axes = figure.subplots()
        if table.margin is not None:
            axes.axvspan(-table.margin, table.margin, color="#d9d9d9", alpha=0.7, lw=0, label="counts as equal")
        axes.axvline(0, color=BLACK, lw=1)
        limit = _limit(table)
        for place, row in enumerate(rows):
            _forest_row(axes, place, row.comparison, limit, table.kind.decimals)
        axes.set_xlim(-limit, limit)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_yticks(range(len(rows)), names)
        axes.tick_params(axis="y", length=0)
        other = any(row.reference not in ("", table.baseline) for row in rows)
        base = f"{_folded(table.baseline)}{' unless named' if other else ''}"
        axes.set_xlabel(f"{table.metric}: difference from {base}, {table.kind.unit} (left is better)")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, borderaxespad=0)
        return _svg(figure, f"forest {table.metric}")


def findings(found: Overview, file_format: str = "svg") -> bytes:
    """Every finding of the paper: effect in percent with its 95 % interval, a row for each pair of arms that tests it.

    The kind of data is told by the mark, the verdict by color and word. What no study has tested is named below.

    Args:
        found: the ledger.
        file_format: `svg` or `png`.
    """
    marks = dict(zip(found.kinds, "os^DvP*X" * len(found.kinds), strict=False))
    rows = [
        ("" if number else entry.claim.text, e) for entry in found.entries for number, e in enumerate(entry.evidence)
    ]
    untested = [entry.claim.text for entry in found.entries if not entry.evidence]
    note = fold(f"not run: {'; '.join(untested)}", 210) if untested else ()
    ends = _ends([e.finding.percent for _, e in rows if e.finding.percent])
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(13, 1.2 + 0.34 * max(1, len(rows)) + 0.17 * len(note)), layout="constrained")
        axes = figure.subplots()
        axes.axvline(0, color=BLACK, lw=1)
        for place, (claim, e) in enumerate(rows):
            if claim:
                axes.axhline(place - 0.5, color="#d9d9d9", lw=0.8)
                axes.text(-0.02, place, _folded(claim, 70), transform=axes.get_yaxis_transform(),
                          va="center", ha="right", fontsize=8)  # fmt: skip
            color = STATUS_COLORS[e.finding.status]
            arms = f"{e.finding.better} - {e.finding.worse}"
            failed = f", failed {e.failed}" if any(count for count, _ in e.failures.values()) else ""
            words = f"{e.finding.status}  {e.finding.percent_text or f'no pairs on {e.kind}'}{failed}   {arms}"
            _interval(axes, place, e.finding.percent, ends, marks[e.kind], color)
            axes.text(1.02, place, words, transform=axes.get_yaxis_transform(), va="center", fontsize=9, color=color)
        axes.set_xlim(ends)
        axes.set_ylim(max(1, len(rows)) - 0.5, -0.5)
        axes.set_yticks([])
        axes.set_xlabel("difference in percent of the error of what the paper says is worse (left: as the paper says)")
        figure.supxlabel("\n".join(note), fontsize=8, color=GRAY, x=0.01, ha="left")
        handles = [
            Line2D([], [], color=BLACK, marker=mark, ls="none", ms=7, label=kind) for kind, mark in marks.items()
        ]
        if handles:
            axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(handles), frameon=False)
        return _svg(figure, "findings").encode() if file_format == "svg" else _png(figure)


def curves(panels: Mapping[str, Sequence[Curve]], baseline: str, most: int = 8) -> str:
    """One panel per logged quantity, a line with its 95 % band per arm; the baseline is black, and drawn on top.

    With more than `most` arms the baseline and the first others are shown, and the legend says so.
    """
    labels = list(dict.fromkeys(curve.label for panel in panels.values() for curve in panel))
    shown = sorted(labels, key=lambda label: label != baseline)[:most]
    styles = dict(zip((label for label in shown if label != baseline), LINES, strict=False))
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(9, 0.8 + 2.9 * len(panels)), layout="constrained")
        grid = figure.subplots(len(panels), 1, squeeze=False, sharex=True)[:, 0]
        handles = {}
        for axes, (key, panel) in zip(grid, panels.items(), strict=True):
            for curve in panel:
                if curve.label not in shown:
                    continue
                color, style = styles.get(curve.label, (BLACK, "-"))
                top = 3 if curve.label == baseline else 2
                axes.fill_between(curve.steps, curve.low, curve.high, color=color, alpha=0.15, lw=0)
                points = "o" if len(curve.steps) <= 12 else None  # a few validations are points, not a course
                (handles[curve.label],) = axes.plot(
                    curve.steps, curve.mean, color=color, ls=style, lw=1.8, zorder=top, marker=points, ms=4
                )
            axes.set_ylabel(key)
            axes.grid(axis="y", color="#e4e4e4", lw=0.8)
            _focus(axes, [curve for curve in panel if curve.label in shown])
        grid[-1].set_xlabel("training step")
        order = [label for label in shown if label in handles]
        left_out = f" ({len(labels) - len(shown)} more arms not drawn)" if len(labels) > len(shown) else ""
        figure.legend(
            [handles[label] for label in order],
            [_folded(label) for label in order],
            loc="outside upper left",
            ncols=3,
            frameon=False,
            title=f"mean over seeds, 95 % t-interval from three seeds on{left_out}",
            alignment="left",
        )
        return _svg(figure, "curves")


def interaction_map(
    names: Sequence[str],
    found: Mapping[tuple[str, ...], Comparison],
    unit: str,
) -> str:
    """Main effects on the diagonal and two-way interactions below, with half-widths; brackets where no sign is shown.

    Args:
        names: of the parts.
        found: main effect by part, interaction by two parts in the order of `names`.
        unit: of the numbers.
    """
    k = len(names)
    effects = np.full((k, k), None, object)
    for i, name in enumerate(names):
        effects[i, i] = found.get((name,))
        for j in range(i):
            effects[i, j] = found.get((names[j], name))
    values = np.array([[e.estimate.mean if e and e.estimate else np.nan for e in row] for row in effects], float)
    top = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 1.0
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(2.2 + 1.4 * k, 1.3 + 0.8 * k), layout="constrained")
        axes = figure.subplots()
        # Rectangles instead of an image, which would be a raster within the SVG.
        axes.pcolormesh(values, cmap="PuOr_r", vmin=-top or -1, vmax=top or 1, edgecolors="white", linewidth=2)
        axes.invert_yaxis()
        for i in range(k):
            for j in range(i + 1):
                _interaction_cell(axes, i, j, effects[i, j], top)
        axes.set_xticks(np.arange(k) + 0.5, [_folded(name, 18) for name in names])
        axes.set_yticks(np.arange(k) + 0.5, [_folded(name, 18) for name in names])
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        words = f"change in {unit}; diagonal: main effects, below: interactions\n(brackets): undecided, or equal"
        axes.set_title(words, fontsize=9, loc="left")
        return _svg(figure, "interactions")


def tuning(
    trials: Mapping[str, Sequence[float]],
    own: Mapping[str, float],
    metric: str,
    unit: str,
) -> str:
    """Expected best validation value against the number of trials, one line per arm (Dodge et al., EMNLP 2019).

    The value of an arm's own setting, where it was tried, is a cross at no trials.
    """
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        axes = figure.subplots()
        for (label, values), (color, style) in zip(
            trials.items(), LINES * (1 + len(trials) // len(LINES)), strict=False
        ):
            best = expected_best(values)
            axes.plot(range(1, len(best) + 1), best, color=color, ls=style, lw=1.8, label=_folded(label))
            if label in own:
                axes.plot([0], [own[label]], color=color, marker="x", ms=7, mew=1.8, ls="none", clip_on=False)
        crosses = "; crosses: the arm's own setting" if set(own) & set(trials) else ""
        axes.set_xlabel(f"trials of the search{crosses}")
        axes.set_ylabel(f"expected best {metric}, {unit}\n(validation)")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(axis="y", color="#e4e4e4", lw=0.8)
        if trials:
            axes.legend(frameon=False, ncols=2)
        return _svg(figure, "tuning")


def _forest_row(axes, place: int, comparison, limit: float, decimals: int) -> None:
    estimate = comparison.estimate
    words = comparison.verdict
    if estimate is None:
        words += ", no pairs"
    else:
        mark, color = MARKS[comparison.verdict]
        if estimate.low is not None:
            axes.plot([max(estimate.low, -limit), min(estimate.high, limit)], [place, place], color=color, lw=2)
            for end, sign in ((estimate.low, "<"), (estimate.high, ">")):
                if abs(end) > limit:  # the interval goes on outside the figure
                    axes.plot(np.sign(end) * limit, place, marker=sign, color=color, ms=7, clip_on=False)
        axes.plot(estimate.mean, place, marker=mark, color=color, ms=7, mew=2, ls="none")
        words += f"  {estimate.mean:+.{decimals}f}"
        if estimate.half_width is not None:
            words += f" +- {estimate.half_width:.{decimals}f}"
    axes.text(1.02, place, words, transform=axes.get_yaxis_transform(), va="center", ha="left")


def _interval(axes, place: int, percent: tuple | None, ends: tuple[float, float], mark: str, color: str) -> None:
    """A mean with its interval, and arrows where these go on outside the figure."""
    if percent is None:
        return
    mean, low, high = percent
    if low is not None:
        axes.plot([max(low, ends[0]), min(high, ends[1])], [place, place], color=color, lw=2)
        if low < ends[0]:
            axes.plot(ends[0], place, marker="<", color=color, ms=7, clip_on=False)
        if high > ends[1]:
            axes.plot(ends[1], place, marker=">", color=color, ms=7, clip_on=False)
    axes.plot(mean, place, marker=mark, color=color, ms=7, mew=1.5, ls="none")


def _ends(found: Sequence[tuple[float, float | None, float | None]]) -> tuple[float, float]:
    """From where to where the figure goes: 0, all means, and intervals unless they would make the rest unreadable."""
    means = [0.0, *(mean for mean, *_ in found)]
    most = 2 * max(map(abs, means)) or 1.0
    low = min(means + [max(low, -most) for _, low, _ in found if low is not None])
    high = max(means + [min(high, most) for _, _, high in found if high is not None])
    room = 0.05 * (high - low) or 1.0
    return low - room, high + room


def _limit(table: ComparisonTable) -> float:
    """Half the width of the figure: all means, and intervals unless they would make the rest unreadable."""
    found = [row.comparison.estimate for row in table.rows if row.comparison and row.comparison.estimate]
    means = [abs(e.mean) for e in found]
    zones = [] if table.margin is None else [table.margin]
    base = max([*means, *(2 * zone for zone in zones)], default=1.0) or 1.0
    ends = [min(max(abs(e.low), abs(e.high)), 2 * base) for e in found if e.low is not None]
    return 1.1 * max([base, *ends])


def _focus(axes, panel: Sequence[Curve]) -> None:
    """Keeps a wide band of few seeds from squeezing the means."""
    means = np.concatenate([curve.mean for curve in panel]) if panel else np.array([])
    if means.size == 0:
        return
    low, high = float(means.min()), float(means.max())
    room = 0.15 * (high - low) or 0.1 * abs(high) or 1.0
    axes.set_ylim(low - room, high + room)


def _interaction_cell(axes, i: int, j: int, effect: Comparison | None, top: float) -> None:
    if effect is None or effect.estimate is None:
        text, light = "-", False
    else:
        mean, half = effect.estimate.mean, effect.estimate.half_width
        text, light = f"{mean:+.3f}", abs(mean) > 0.65 * top
        text = text if effect.verdict in ("helps", "hurts") else f"({text})"
        text += "" if half is None else f"\n+- {half:.3f}"
    axes.text(j + 0.5, i + 0.5, text, ha="center", va="center", color="white" if light else "black", fontsize=9)


def _folded(label: str, width: int = 34) -> str:
    return "\n".join(fold(label, width))


def _svg(figure: Figure, salt: str) -> str:
    """The figure as SVG text without date or version; identifiers follow from the content and the salt."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": salt}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue().decode()


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=140, metadata={"Software": None})
    return buffer.getvalue()
