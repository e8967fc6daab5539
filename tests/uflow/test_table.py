"""The table of components: what its last column is made of."""

import json

import pytest

from uflow import registry, table

# they leave a term out: there is nothing to compare
NOTHING_TO_COMPARE = {"smoothness/none", "selfsup/none"}


def test_every_component_that_computes_something_was_compared_with_the_reference():
    every = {f"{axis}/{name}" for axis in registry.AXES for name in registry.names(axis)}
    compared = json.loads(table.PARITY.read_text())
    assert set(compared["components"]) == every - NOTHING_TO_COMPARE
    for component, files in compared["components"].items():
        assert files and set(files) <= set(compared["goldens"]), component
        assert all(cases > 0 and 0 <= worst < 1e-3 for cases, worst in files.values()), component


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
