"""The line that follows the runs of a study."""

from experiments.records.run_record import RunRecord, write_result
from studies.launchers.progress_line import Progress


def test_a_result_is_read_once_however_often_the_line_is_shown(tmp_path):
    known = {"reason": "", "spec": {}, "metrics": {}, "validation": {}, "protocol": ""}
    names = {f"{status}_s0__0123456789ab": status for status in ("completed", "diverged", "pruned")}
    for name, status in names.items():
        (tmp_path / name).mkdir()
        write_result(tmp_path / name, RunRecord(run_id="0123456789ab", status=status, **known))
    progress = Progress(tmp_path, dict.fromkeys(names, 10))
    assert progress.line().startswith("3/3 runs  0 running  1 failed")
    for name in names:
        (tmp_path / name / "result.json").write_text("read again, it would be a failure")
    assert progress.line().startswith("3/3 runs  0 running  1 failed")
