"""A comparison table as fixed-width text, Markdown, LaTeX and CSV."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from analysis.report.footnotes import is_flagged, p_text
from analysis.results.comparison import Comparison
from analysis.results.effects import MEANING, Contrast, PartEffects, in_words
from analysis.results.tables import ArmRow, ComparisonTable
from experiments.records.labels import cell, fold

WIDTH = 120
LABEL_WIDTH = 28
UNKNOWN = "-"
BRIEF = ("arm", "mean +- half (n)", "delta [95 %]", "p", "verdict", "failed")  # what fits into half a page

Cells = tuple[tuple[str, ...], ...]


def cells(table: ComparisonTable) -> Cells:
    """Header, one row of text per arm, and one per method without training, of which there is a value only.

    `-` where something is not known, empty where there is nothing to know.
    """
    decimals = _decimals(table)
    header = (
        "arm",
        f"mean +- half (n), {table.kind.unit}",
        f"delta [95 %], {table.kind.unit}",
        "delta %",
        "p",
        "p flip",
        "d_z",
        "verdict",
        "failed",
        "seeds x frames",
        "P(better)",
        "how failed",
        "seconds",
        "MB",
        "ms/step",
    )
    rest = ("",) * (len(header) - 2)
    yardsticks = ((title, f"{value:.{decimals}f}", *rest) for title, value in table.yardsticks.items())
    return (header, *(_row_cells(table, row, decimals) for row in table.rows), *yardsticks)


def as_text(table: ComparisonTable, notes: Sequence[str] = (), width: int = WIDTH, brief: bool = False) -> str:
    """The table and its footnotes for a terminal of `width` columns; columns that do not fit follow below.

    A `brief` one is for a further metric of runs whose footnotes and costs were shown already: it leaves them out.
    """
    content = cells(table)
    wrapped = [_wrap_label(row) for row in content]
    widths = [max(len(line[c]) for lines in wrapped for line in lines) for c in range(len(content[0]))]
    blocks: list[list[int]] = [[]]
    for column in range(1, len(widths)):
        if blocks[-1] and widths[0] + sum(2 + widths[c] for c in [*blocks[-1], column]) > width:
            blocks.append([])
        blocks[-1].append(column)
    lines = [title(table)]
    for block in blocks[: 1 if brief else None]:
        columns = [0, *block]
        rule = "  ".join("-" * widths[c] for c in columns)
        lines.append("")
        for number, group in enumerate(wrapped):
            if any(content[number][c] for c in block):  # of a method without training there is a value only
                lines += [_align(line, columns, widths) for line in group]
            lines += [rule] if number == 0 else []
    if not brief:
        lines.append("")
    for note in () if brief else notes:
        lines += textwrap.wrap(note, width, subsequent_indent="  ", break_long_words=True) or [""]
    return "\n".join(lines) + "\n"


def as_markdown(table: ComparisonTable, notes: Sequence[str] = (), brief: bool = False) -> str:
    """The table in GitHub's Markdown, footnotes as a list; a `brief` one has the columns of `BRIEF` only."""
    content = cells(table)
    shown = [place for place, name in enumerate(content[0]) if not brief or name.split(",")[0] in BRIEF]
    header, *rows = [[escape_markdown(row[place]) for place in shown] for row in content]
    marks = [":--"] + [":--" if name in ("verdict", "how failed") else "--:" for name in header[1:]]
    lines = [f"**{escape_markdown(title(table))}**", ""]
    lines += ["| " + " | ".join(row) + " |" for row in (header, marks, *rows)]
    lines += ["", *(f"- {escape_markdown(note)}" for note in notes)]
    return "\n".join(lines) + "\n"


def as_latex(table: ComparisonTable, notes: Sequence[str] = ()) -> str:
    """A LaTeX `table` (package booktabs), footnotes in small print below."""
    header, *rows = [[_escape_latex(cell) for cell in row] for row in cells(table)]
    marks = "l" + "".join("l" if name in ("verdict", "how failed") else "r" for name in header[1:])
    lines = [
        r"\begin{table}",
        r"\centering\footnotesize",
        rf"\caption{{{_escape_latex(title(table))}}}",
        rf"\begin{{tabular}}{{{marks}}}",
        r"\toprule",
        " & ".join(header) + r" \\",
        r"\midrule",
        *(" & ".join(row) + r" \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
        *(rf"\par {_escape_latex(note)}" for note in notes),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def as_csv(table: ComparisonTable) -> str:
    """The numbers in full precision, a row per arm and method without training; empty where something is not known."""
    import pandas

    arms = table.frame.map(cell)
    yardsticks = [{"arm": cell(title), "mean": cell(value)} for title, value in table.yardsticks.items()]
    rest = pandas.DataFrame(yardsticks, columns=arms.columns)
    return "".join(rows.to_csv(index=False, header=rows is arms, lineterminator="\n") for rows in (arms, rest))


def part_cells(effects: PartEffects) -> Cells:
    """Header and one row of text per effect, its measure first; the last two columns only if runs were filled in."""
    decimals = _decimals_of([c.comparison for c in effects.contrasts], effects.kind.decimals)
    header = (
        "measure",
        "part",
        f"delta [95 %], {effects.kind.unit}",
        "seeds x frames",
        "p",
        "verdict",
        "seeds",
        "whole seeds only",
        "its p, verdict",
    )
    rows = [_part_row(contrast, decimals) for contrast in effects.contrasts]
    shown = len(header) if any(contrast.whole for contrast in effects.contrasts) else len(header) - 2
    return tuple(row[:shown] for row in (header, *rows))


def parts_as_text(effects: PartEffects, width: int = WIDTH) -> str:
    """The effects of the parts for a terminal, and their notes; what they are over whole seeds follows below."""
    header, *rows = part_cells(effects)
    lines = [effects.title]
    for columns in ((1, 2, 3, 4, 5, 6), (1, 7, 8)):
        shown = [row for row in rows if columns[-1] < len(row) and row[columns[-1]]]
        widths = {c: max(len(row[c]) for row in (header, *shown)) for c in columns if c < len(header)}
        if not shown:
            continue
        aligned = ["  ".join(_just(row[c], widths[c], c in (1, 5, 8)) for c in columns) for row in (header, *shown)]
        lines += ["", aligned[0].rstrip(), "  ".join("-" * widths[c] for c in columns)]
        for place, row in enumerate(shown):
            if place == 0 or shown[place - 1][0] != row[0]:
                lines.append(f"{row[0]}: {MEANING[row[0]]}" if columns[1] == 2 else row[0])
            lines.append(aligned[place + 1].rstrip())
    lines.append("")
    for note in effects.notes:
        if note.split(":")[0] not in MEANING:  # said above each block
            lines += textwrap.wrap(note, width, subsequent_indent="  ")
    return "\n".join(lines) + "\n"


def parts_as_markdown(effects: PartEffects) -> str:
    """The effects of the parts in GitHub's Markdown, notes as a list."""
    header, *rows = [[escape_markdown(cell) for cell in row] for row in part_cells(effects)]
    marks = [":--" if column in (0, 1, 5, 8) else "--:" for column in range(len(header))]
    lines = [f"**{escape_markdown(effects.title)}**", ""]
    lines += ["| " + " | ".join(row) + " |" for row in (header, marks, *rows)]
    lines += ["", *(f"- {escape_markdown(note)}" for note in effects.notes)]
    return "\n".join(lines) + "\n"


def title(table: ComparisonTable) -> str:
    """What the table is about, in one line."""
    own = any(row.comparison and row.reference != table.baseline for row in table.rows)
    otherwise = " unless a row says otherwise" if own else ""
    return f"{table.study}: {table.metric} ({table.kind.title}), against {table.baseline}{otherwise}"


def row_label(table: ComparisonTable, row: ArmRow) -> str:
    """The arm, and what it is compared with where that is not the study's baseline."""
    if row.comparison is None:
        return f"{row.label} (baseline)"
    return row.label if row.reference in ("", table.baseline) else f"{row.label} (against {row.reference})"


def _row_cells(table: ComparisonTable, row: ArmRow, decimals: int) -> tuple[str, ...]:
    own, c = row.estimate, row.comparison
    known = bool(row.failures.runs)
    mean = UNKNOWN
    if own is not None:
        spread = "" if own.half_width is None else f" +- {own.half_width:.{decimals}f}"
        mean = f"{own.mean:.{decimals}f}{spread} (n={own.n})"
    if c is None:
        compared = ("",) * 5 + ("baseline",)
        across, better = "", ""
    else:
        mark = " !" if is_flagged(c.p_flip, c.p_flip_smallest, row.alpha) else ""
        compared = (
            _interval(c.estimate, decimals),
            UNKNOWN if c.percent is None else f"{round(c.percent, 1) + 0.0:+.1f}",
            p_text(c.p_adjusted),
            p_text(c.p_flip_adjusted) + mark,
            UNKNOWN if c.d_z is None else f"{c.d_z:+.2f}",
            c.verdict,
        )
        across = UNKNOWN if row.crossed is None else _ends(row.crossed.low, row.crossed.high, decimals)
        # one pair of runs says nothing of a new seed, although the share of seeds is 0 or 1 then
        chance = c.better and c.better.normal
        better = UNKNOWN if chance is None else f"{chance:.2f}"
    return (
        row_label(table, row),
        mean,
        *compared,
        f"{row.failures.failed}/{row.failures.runs}" if known else UNKNOWN,
        across,
        better,
        row.failures.text or ("none" if known else UNKNOWN),
        *(
            _cost(row.costs.get(name), digits)
            for name, digits in (("seconds", 1), ("peak_memory_mb", 0), ("ms_per_step", 1))
        ),
    )


def _part_row(contrast: Contrast, decimals: int) -> tuple[str, ...]:
    one, whole = contrast.comparison, contrast.whole
    return (
        contrast.measure,
        contrast.label,
        _interval(one.estimate, decimals),
        UNKNOWN if contrast.crossed is None else _ends(contrast.crossed.low, contrast.crossed.high, decimals),
        p_text(one.p_adjusted),
        contrast.verdict,
        str(len(one.differences)),
        "" if whole is None else f"{_interval(whole.estimate, decimals)} (n={len(whole.differences)})",
        "" if whole is None else f"{p_text(whole.p_adjusted)}, {in_words(contrast.measure, whole)}",
    )


def _interval(estimate, decimals: int) -> str:
    if estimate is None:
        return UNKNOWN
    if estimate.low is None:
        return f"{estimate.mean:+.{decimals}f}"
    return f"{estimate.mean:+.{decimals}f} {_ends(estimate.low, estimate.high, decimals)}"


def _ends(low: float, high: float, decimals: int) -> str:
    return f"[{low:+.{decimals}f}, {high:+.{decimals}f}]"


def _cost(value: float | None, digits: int) -> str:
    return UNKNOWN if value is None else f"{value:.{digits}f}"


def _decimals(table: ComparisonTable) -> int:
    return _decimals_of([row.comparison for row in table.rows if row.comparison], table.kind.decimals)


def _decimals_of(comparisons: Sequence[Comparison], usual: int) -> int:
    """Digits after the point with which the narrowest interval of a difference still shows a digit, at most 6."""
    narrow = [half for c in comparisons if c.estimate and (half := c.estimate.half_width)]
    needed = -math.floor(math.log10(min(narrow))) if narrow else 0
    return max(usual, min(6, needed))


def _wrap_label(row: Sequence[str]) -> list[tuple[str, ...]]:
    first, *more = fold(row[0], LABEL_WIDTH)
    return [(first, *row[1:]), *((f"  {line}", *("" for _ in row[1:])) for line in more)]


def _just(text: str, width: int, left: bool) -> str:
    return text.ljust(width) if left else text.rjust(width)


def _align(line: Sequence[str], columns: Sequence[int], widths: Sequence[int]) -> str:
    return "  ".join(_just(line[c], widths[c], c in (0, 7, 11)) for c in columns).rstrip()


def escape_markdown(text: str) -> str:
    """The text with what Markdown would read as its own escaped."""
    for sign in ("\\", "`", "*", "_", "|", "<"):
        text = text.replace(sign, "\\" + sign)
    return text.replace("](", "]\\(").replace("+-", "±").replace("\n", " ")


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"$<$", ">": r"$>$", "|": r"$|$",
}  # fmt: skip


def _escape_latex(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text).replace("+-", r"$\pm$").replace("\n", " ")
