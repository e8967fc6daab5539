import pytest

from benchmarks import overhead


@pytest.mark.slow
def test_a_study_of_runs_that_train_nothing_is_timed(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("UFLOW_STORAGE", raising=False)
    found = overhead.timed(tmp_path / "some", 4, False, None)
    assert 0 < found["wall"] and 0 < found["cpu"]
    results = list((tmp_path / "some" / "runs").glob("*/result.json"))
    assert len(results) == 4 and all((path.parent / "sacred.json").exists() for path in results)


@pytest.mark.parametrize("runs", ["3", "2", "-4"])
def test_numbers_of_runs_that_cannot_be_timed_are_refused(runs, capsys):
    assert overhead.main(["--runs", runs]) == 2
    assert "must be even and at least 4" in capsys.readouterr().err
