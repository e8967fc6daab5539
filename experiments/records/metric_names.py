"""How the numbers of a result are named."""

from __future__ import annotations


def metric_name(source: str, region: str, measure: str = "epe") -> str:
    """The name of a number in a result, such as `epe/sintel_clean+sintel_final/occ`.

    Args:
        source: names of the data sets, `NAME[;NAME]`, without paths; data sets that are measured as one stand in one
            name, so `;` becomes `+`, which needs no quotes in a shell or a file name.
        region: the pixels that it is about, one of `experiments.evaluation.regions.NAMES`.
        measure: what is measured there, one of `experiments.evaluation.protocols.MEASURES`.
    """
    return f"{measure}/{source.replace(';', '+')}/{region}"
