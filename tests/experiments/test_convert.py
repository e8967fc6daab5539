"""Training on a converted data set is training on the original."""

import cv2
import numpy as np
import pytest

from experiments import convert
from experiments.data.files.flow import write_flo
from experiments.data.synthetic.scenes import SceneOptions, Scenes
from experiments.records import run_record

STEPS = 50


@pytest.mark.slow
def test_raw_and_converted_pairs_give_one_run_id_and_identical_losses_for_50_steps(runner, tmp_path):
    chairs = tmp_path / "chairs"
    (chairs / "data").mkdir(parents=True)
    # another size than that of training, so that reading and resizing take part
    scenes = Scenes(SceneOptions(train_pairs=9, radius_min=5, radius_max=8), 40, 56, "train")
    for i in range(9):
        pair, stem = scenes[i], chairs / "data" / f"{i + 1:05}"
        cv2.imwrite(f"{stem}_img1.ppm", pair.first[..., ::-1])
        cv2.imwrite(f"{stem}_img2.ppm", pair.second[..., ::-1])
        write_flo(f"{stem}_flow.flo", pair.flow)
    (chairs / "FlyingChairs_train_val.txt").write_text("1\n1\n2\n" * 3)
    converted = tmp_path / "converted"
    assert convert.main(["flyingchairs", "--data_dir", str(chairs), "--output_dir", str(converted)]) == 0
    (chairs / "data").rename(tmp_path / "away")
    second = runner.finish(tmp_path / "b", "--data", f"flyingchairs:{converted}", **{"train.steps": STEPS})
    (tmp_path / "away").rename(chairs / "data")
    first = runner.finish(tmp_path / "a", "--data", f"flyingchairs:{chairs}", **{"train.steps": STEPS})
    assert first.name == second.name
    for name in ("metrics.jsonl", "result.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    lines = list(run_record.read_metrics(first / "metrics.jsonl"))
    assert [line["step"] for line in lines if line["step"] % 10 == 0] == [10, 20, 30, 40, 50]
    assert len({line["total"] for line in lines}) == len(lines)
    assert np.isfinite(list(run_record.read_result(first).metrics.values())).all()
