"""Published final numbers, as data, next to what a study measured on the same data; no number here is ours."""

from __future__ import annotations

import dataclasses
import fnmatch

from analysis.results.load import StudyData
from analysis.results.metric_kinds import metric_kind
from analysis.statistics.paired import Estimate, mean_interval

UFLOW = "Jonschkowski et al., ECCV 2020"
PORT = "MindSpore port r1.8"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Published:
    """A number that somebody published.

    Attributes:
        row: what was trained, on what.
        metric: pattern of the metric's name, such as `epe/*sintel*clean*/all`.
        split: part of the data set it was measured on. The labels of test splits are not public, so those are listed
            and never compared.
        value: the number, in px for `epe` and % for `fl`.
        source: who published it.
    """

    row: str
    metric: str
    split: str
    value: float
    source: str = UFLOW

    @property
    def comparable(self) -> bool:
        """True if a run can measure the same thing."""
        return self.split != "test"


_TEST, _TRAIN = (
    "UFlow-test (trained unlabelled on the test portion)",
    "UFlow-train (trained unlabelled on the train portion)",
)
_CLEAN, _FINAL, _KITTI = "epe/*sintel*clean*/all", "epe/*sintel*final*/all", "*kitti*15*"
PUBLISHED = (
    Published(row=_TEST, metric=_CLEAN, split="train", value=3.01),
    Published(row=_TEST, metric=_FINAL, split="train", value=4.09),
    Published(row=_TEST, metric=f"epe/{_KITTI}/all", split="train", value=2.84),
    Published(row=_TEST, metric=f"epe/{_KITTI}/noc", split="train", value=1.96),
    Published(row=_TEST, metric=f"fl/{_KITTI}/all", split="train", value=9.39),
    Published(row=_TRAIN, metric=_CLEAN, split="train", value=2.50),
    Published(row=_TRAIN, metric=_CLEAN, split="test", value=5.21),
    Published(row=_TRAIN, metric=_FINAL, split="train", value=3.39),
    Published(row=_TRAIN, metric=_FINAL, split="test", value=6.50),
    Published(row=_TRAIN, metric=f"epe/{_KITTI}/all", split="train", value=2.71),
    Published(row=_TRAIN, metric=f"epe/{_KITTI}/noc", split="train", value=1.88),
    Published(row=_TRAIN, metric=f"fl/{_KITTI}/all", split="train", value=9.05),
    Published(row=_TRAIN, metric=f"fl/{_KITTI}/all", split="test", value=11.13),
    Published(row="UFlow", metric="epe/*chairs*/all", split="validation", value=2.735, source=PORT),
    Published(row="UFlow", metric=_CLEAN, split="train", value=3.345, source=PORT),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Beside:
    """A published number beside what an arm reached on the same data.

    Attributes:
        published: the number.
        arm: label of the arm.
        metric: name of the study's metric.
        measured: mean over seeds with its interval.
        unit: unit of both.
    """

    published: Published
    arm: str
    metric: str
    measured: Estimate
    unit: str


def beside_published(data: StudyData) -> tuple[Beside, ...]:
    """Published numbers beside the means of the study's arms, for the metrics measured on that data and no others.

    Training, resolution and length differ from the published ones unless the preset says so: this is a comparison by
    eye, without a verdict.
    """
    return tuple(
        Beside(
            published=number,
            arm=label,
            metric=metric,
            measured=mean_interval(list(values.values())),
            unit=metric_kind(metric).unit,
        )
        for number in PUBLISHED
        if number.comparable
        for metric in data.plan.metrics
        if fnmatch.fnmatch(metric.lower(), number.metric)
        for label in data.plan.labels
        if (values := data.values(label, metric))
    )
