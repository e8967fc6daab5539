import numpy as np
import pytest

from benchmarks import step
from benchmarks.cases import CASES


def test_a_side_that_computes_the_same_is_near_to_exact(tmp_path):
    a, b = np.array([1.0, -4.0]), np.array([0.5])
    np.savez(tmp_path / "uflow.npz", loss=2.0, a=a, b=b, unused=np.zeros(3))
    np.savez(tmp_path / "exact.npz", loss=2.0 + 1e-5, a=a - [0, 2e-3], b=b)
    assert step.distances(tmp_path, "uflow") == pytest.approx({"loss": 5e-6, "gradients": 5e-4}, rel=1e-3)
    assert step.checked(tmp_path, "uflow") == pytest.approx(5e-4, rel=1e-3)
    np.savez(tmp_path / "exact.npz", loss=2.0, a=a - [0, 8e-3], b=b)
    with pytest.raises(step.SideError, match="in gradients by 0.002"):
        step.checked(tmp_path, "uflow")
    np.savez(tmp_path / "exact.npz", loss=2.001, a=a, b=b)
    with pytest.raises(step.SideError, match="in loss by 0.0005"):
        step.checked(tmp_path, "uflow")
    np.savez(tmp_path / "exact.npz", loss=2.0, a=a)
    with pytest.raises(step.SideError, match="one side only has b"):
        step.checked(tmp_path, "uflow")


def test_a_flow_is_held_against_its_largest_value(tmp_path):
    flow = np.array([3.0, -5.0])
    np.savez(tmp_path / "uflow.npz", flow=flow)
    np.savez(tmp_path / "exact.npz", flow=flow + [1e-4, 0])
    assert step.checked(tmp_path, "uflow") == pytest.approx(2e-5)
    np.savez(tmp_path / "exact.npz", flow=flow * np.nan)
    with pytest.raises(step.SideError, match="flow by nan"):
        step.checked(tmp_path, "uflow")


def test_wrong_words_are_refused(capsys):
    assert step.main(["--sizes", "64x63"]) == 2
    assert "unknown '64x63' (known: 64x64" in capsys.readouterr().err


def test_the_second_image_is_the_first_one_moved():
    first, second = CASES["64x64"].images()
    assert first.shape == second.shape == (4, 3, 64, 64) and first.dtype == np.float32
    assert 0 <= first.min() and first.max() <= 1 and np.abs(first - second).mean() > 0.02
