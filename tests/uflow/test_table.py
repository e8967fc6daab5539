"""The table of components: what its last column is made of."""

import json

import pytest

from uflow import interfaces, registry, table


def test_every_component_that_the_reference_has_was_compared_with_it():
    every = {(axis, name) for axis in registry.AXES for name in registry.names(axis)}
    shared = {f"{axis}/{name}" for axis, name in every if registry.entry(axis, name).reference}
    compared = json.loads(table.PARITY.read_text())
    assert set(compared["components"]) == shared and len(shared) >= 19
    for component, files in compared["components"].items():
        assert files and set(files) <= set(compared["goldens"]), component
        assert all(cases > 0 and 0 <= worst < 1e-3 for cases, worst in files.values()), component


@pytest.mark.parametrize("axis", registry.AXES)
def test_every_component_is_what_its_axis_says(axis):
    for name in registry.names(axis):
        component = registry.build(axis, name)
        assert isinstance(component, registry.AXES[axis].contract), name
        needs_teacher = "teacher" in registry.entry(axis, name).needs
        assert isinstance(component, interfaces.TeacherSelfSupervision) == needs_teacher


def test_the_worst_error_of_all_files_and_the_number_of_arrays_are_shown(monkeypatch):
    files = {"one": [3, 2.5e-7], "two": [4, 1.24e-5]}
    known = {"occlusion/brox": files, "occlusion/none": {"one": [2, 0.0]}}
    monkeypatch.setattr(table, "_parity", lambda: known)
    assert table.parity_text("occlusion", "brox") == "1.2e-05 (7)"
    assert table.parity_text("occlusion", "none") == "0 (2)"
    assert table.parity_text("selfsup", "none") == "-"


def test_a_text_without_the_marks_is_left_alone(tmp_path, capsys):
    path = tmp_path / "README.md"
    path.write_text("no table here")
    assert table.main([str(path)]) == 2 and path.read_text() == "no table here"
    assert "marks" in capsys.readouterr().err
    with pytest.raises(ValueError, match="not there"):
        table.updated(f"{table.END} {table.BEGIN}")
