"""The command on a campaign: that on each of its studies with each kind of data, and what these have in common."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from studies.cli.command import Command, Problems, of_study, queue_name

ONE_STUDY = ("arms", "search", "search_over", "until_decided", "add_seeds")  # what cannot be meant for several


def of_campaign(campaign: Any, given: argparse.Namespace, words: Sequence[str], problems: Problems) -> Command:
    """The command on a campaign: that on each of its studies with each kind of data, and what these have in common."""
    from experiments.records.run_settings import sources_of
    from studies.planning.campaign_plan import each
    from studies.planning.planner import PlanError

    # arms may be chosen where there is one study, for they are the same on all kinds of data
    refused = [name for name in ONE_STUDY if name != "arms" or len(campaign.studies) > 1]
    if asked := [f"--{name.replace('_', '-')}" for name in refused if getattr(given, name) is not None]:
        verb = "is" if len(asked) == 1 else "are"
        raise PlanError(
            f"{', '.join(asked)} {verb} for one study, and {campaign.name} is a campaign of {len(campaign.studies)}:"
            f" give the name of a study ({', '.join(campaign.studies)}) with the same --out"
        )
    members = each({name: functools.partial(_member, name) for name in campaign.studies})
    studies = dict(zip(campaign.studies, members, strict=True))
    more = sources_of(given.data, given.eval)
    if given.data:
        campaign = _with_data(campaign, more)
        given = argparse.Namespace(**vars(given) | {"data": None, "eval": None})

    def part(study: str, kind: str, folder: str) -> Command:
        known = dataclasses.replace(studies[study], name=folder, kind=kind)
        return of_study(known, given, words, Problems(problems), campaign.kinds[kind])

    parts = each({folder: functools.partial(part, *names, folder) for *names, folder in campaign.parts})
    first = parts[0]
    changes = {k: v for k, v in first.request.changes.items() if k not in next(iter(campaign.kinds.values()))} | more
    request = dataclasses.replace(first.request, changes=changes)
    queue = queue_name(campaign, request) if first.settings.storage else campaign.name
    execution = dataclasses.replace(first.settings.execution, sources=more if given.worker else {})
    settings = dataclasses.replace(first.settings, execution=execution, study=campaign.name, queue=queue, tracking=None)
    return dataclasses.replace(
        first, study=campaign, request=request, settings=settings, stored=None, parts=tuple(parts)
    )


def _member(name: str) -> Any:
    """The study of that name; a campaign or a study that searches raises `PlanError`, for neither is a list of runs."""
    from studies.design import Study
    from studies.planning.catalog import load
    from studies.planning.planner import PlanError

    study = load(name)
    if not isinstance(study, Study):
        raise PlanError(f"{name!r} is a campaign itself, and a campaign is of studies; name those of it")
    if study.searched:
        raise PlanError(f"{name!r} searches settings before it has runs, which a campaign does not; give it on its own")
    return study


def _with_data(campaign: Any, sources: Mapping[str, str]) -> Any:
    """The campaign with that kind of data too, or instead of one of its name, and evaluated on that of `--eval`."""
    from experiments.data.catalog import canonical as names_of
    from experiments.data.source_text import unplaced

    kind = re.sub(r"\W+", "_", unplaced(names_of(sources["data.source"])), flags=re.ASCII)
    return dataclasses.replace(campaign, kinds=dict(campaign.kinds) | {kind: dict(sources)})
