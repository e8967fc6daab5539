import numpy as np
import pytest

from benchmarks import step
from benchmarks.cases import CASES


def test_sides_that_compute_the_same_are_near(tmp_path):
    a, b = np.array([1.0, -4.0]), np.array([0.5])
    np.savez(tmp_path / "uflow.npz", loss=2.0, a=a, b=b, unused=np.zeros(3))
    np.savez(tmp_path / "eager.npz", loss=2.0001, a=a + 2e-4, b=b)
    assert step.distance(tmp_path, "eager") == pytest.approx(5e-5)
    np.savez(tmp_path / "eager.npz", loss=2.0, a=a + 8e-4, b=b)
    assert step.distance(tmp_path, "eager") == pytest.approx(2e-4)
    np.savez(tmp_path / "eager.npz", loss=2.0, a=a)
    with pytest.raises(step.SideError, match="one side only has b"):
        step.distance(tmp_path, "eager")


def test_wrong_words_are_refused(capsys):
    assert step.main(["--sizes", "64x63"]) == 2
    assert "unknown '64x63' (known: 64x64" in capsys.readouterr().err


def test_the_second_image_is_the_first_one_moved():
    first, second = CASES["64x64"].images()
    assert first.shape == second.shape == (4, 3, 64, 64) and first.dtype == np.float32
    assert 0 <= first.min() and first.max() <= 1 and np.abs(first - second).mean() > 0.02
