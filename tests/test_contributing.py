"""What docs/contributing.md shows can be done as it stands."""

import dataclasses
import pathlib
import re
import sys
import types

import pytest

from studies.planning.planner import PlanRequest, make
from studies.presets import PRESETS
from uflow import interfaces, registry

PAGE = (pathlib.Path(__file__).parents[1] / "docs/contributing.md").read_text()


def shown(about):
    return re.search(rf"^## {about}\n.*?^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[1]


@pytest.fixture
def example(monkeypatch):
    """`example(text)` is a module with that text; what it registers is forgotten afterwards."""
    registry.names("photometric")
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))

    def loaded(text):
        module = types.ModuleType("mine")
        monkeypatch.setitem(sys.modules, "mine", module)
        exec(text, vars(module))
        return module

    return loaded


def test_the_component_is_one_of_its_axis(example):
    example(shown("Add a component"))
    component = registry.build("photometric", "mine", {"scale": 0.2})
    assert isinstance(component, interfaces.Photometric) and dataclasses.is_dataclass(component)


def test_a_component_that_cannot_be_called_is_refused(example):
    text = re.sub(r"\n    def __call__.*", "", shown("Add a component"), flags=re.DOTALL)
    with pytest.raises(ValueError, match="photometric component 'mine' has no __call__; uflow/interfaces.py"):
        example(text)


def test_the_study_can_be_planned(example):
    study = example(shown("Add a study")).STUDY
    assert make(study, PlanRequest(preset=PRESETS["smoke"], seeds=(0,))).labels == study.labels
