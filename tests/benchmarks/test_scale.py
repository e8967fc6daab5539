import pytest

from benchmarks import scale

STAGES = ["plan", "plan again", "enqueue", "claim", "status", "report"]


@pytest.mark.slow
def test_every_stage_of_a_study_that_is_not_run_is_timed(tmp_path):
    found = scale.costs(tmp_path, 10, False)
    assert list(found) == STAGES
    assert all(seconds >= 0 and runs == 10 for seconds, runs in found.values()) and found["report"][0] > 0
    assert (tmp_path / "scale" / "report" / "table_epe_synthetic_all.md").exists()
    assert len(list(tmp_path.glob("runs/*/result.json"))) == 10


def test_the_table_has_a_column_for_each_number_of_runs():
    small, large = dict.fromkeys(STAGES, (0.5, 10)), dict.fromkeys(STAGES, (2.0, 1000))
    lines = scale.markdown({10: small | {"MLflow": (1.0, 10)}, 1000: large}).splitlines()
    assert lines[0] == "| CPU ms of a run | 10 runs | 1,000 runs |"
    assert "| plan | 50.00 | 2.00 |" in lines and "| MLflow | 100.00 | - |" in lines
    assert lines[-1] == "| status and report of all, CPU s | 1.0 | 4.0 |"


@pytest.mark.parametrize("runs", ["5", "12", "-10", "10,many", ""])
def test_numbers_of_runs_that_make_no_study_are_refused(runs, capsys):
    assert scale.main(["--runs", runs]) == 2
    assert "is not a number of runs; at least 10, and a multiple of 5" in capsys.readouterr().err
