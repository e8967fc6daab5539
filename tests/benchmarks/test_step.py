import pathlib
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import step
from benchmarks.cases import CASES, Case
from benchmarks.side import runtime_side

ROOT = pathlib.Path(__file__).parents[2]
A, B = np.array([1.0, -4.0]), np.array([0.5])


def save(folder, **sides):
    for side, arrays in sides.items():
        np.savez(folder / f"{side}.npz", **arrays)


def test_loss_and_gradients_are_held_against_double_precision(tmp_path):
    save(
        tmp_path,
        uflow={"loss": 2.0, "a": A, "b": B, "unused": np.zeros(3)},
        eager={"loss": 2.0, "a": A, "b": B},
        exact={"loss": 2.0 + 1e-4, "a": A - [0, 2e-4], "b": B},
    )
    assert step.distances(tmp_path, "uflow") == pytest.approx({"loss": 5e-5, "gradients": 5e-5}, rel=1e-3)
    assert step.checked(tmp_path, "eager") == pytest.approx((5e-5, 5e-5), rel=1e-3)


def test_a_side_may_be_as_far_as_five_times_the_peer(tmp_path):
    exact = {"loss": 2.0, "a": A, "b": B}
    save(tmp_path, uflow=exact | {"a": A + [0, 4e-3]}, eager=exact | {"a": A + [0, 1e-3]}, exact=exact)
    assert step.checked(tmp_path, "eager") == pytest.approx((1e-3, 2.5e-4))
    save(tmp_path, uflow=exact | {"a": A + [0, 6e-3]})
    with pytest.raises(step.SideError, match="in gradients by 0.0015, the peer by 0.00025"):
        step.checked(tmp_path, "eager")
    save(tmp_path, uflow=exact | {"loss": 2.001})
    with pytest.raises(step.SideError, match="in loss by 0.0005"):
        step.checked(tmp_path, "eager")
    save(tmp_path, exact={"loss": 2.0, "a": A})
    with pytest.raises(step.SideError, match="one side only has b"):
        step.checked(tmp_path, "eager")


def test_nothing_equals_a_flow_that_is_not_finite(tmp_path):
    flow = np.array([3.0, -5.0])
    save(tmp_path, uflow={"flow": flow}, eager={"flow": flow}, exact={"flow": flow + [1e-4, 0]})
    assert step.checked(tmp_path, "eager") == pytest.approx((2e-5, 2e-5))
    save(tmp_path, exact={"flow": flow * [np.nan, 1]})
    with pytest.raises(step.SideError, match="flow by nan"):
        step.checked(tmp_path, "eager")


def test_wrong_words_are_refused(capsys):
    assert step.main(["--sizes", "64x63"]) == 2
    assert "unknown '64x63' (known: 64x64" in capsys.readouterr().err


def test_the_second_image_is_the_first_one_moved():
    first, second = CASES["64x64"].images()
    assert first.shape == second.shape == (4, 3, 64, 64) and first.dtype == np.float32
    assert 0 <= first.min() and first.max() <= 1 and np.abs(first - second).mean() > 0.02


def test_runtimes_that_are_not_installed_are_left_out_with_a_word(monkeypatch, capsys):
    compared = []
    monkeypatch.setattr(step.importlib.util, "find_spec", lambda name: None if name == "openvino" else object())
    monkeypatch.setattr(step.importlib.metadata, "version", lambda name: "1.0")
    monkeypatch.setattr(step.roofline, "measured", lambda threads: step.roofline.Machine(1e9, 1e9))
    monkeypatch.setattr(step, "markdown", lambda rows: "table")
    monkeypatch.setattr(step, "compare", lambda case, mode, peer, *rest: compared.append((mode, peer)))
    assert step.main(["--sizes", "64x64", "--modes", "step,inference", "--peers", "eager,onnxruntime,openvino"]) == 0
    assert compared == [("step", "eager"), ("inference", "eager"), ("inference", "onnxruntime")]
    said = capsys.readouterr().out
    assert "openvino: not installed, left out; pip install -e '.[bench]'" in said
    assert "onnxruntime: of inference only" in said


def test_a_runtime_gives_the_flow_of_the_network(tmp_path):
    pytest.importorskip("onnxruntime", reason="the extra [export] is not installed")
    case = Case(height=32, width=48, batch=2, levels=2, multiplier=0.0625, crop=8)
    words = (
        "import pathlib, sys\nfrom benchmarks.cases import Case\nfrom benchmarks.side import uflow_side\n"
        f"uflow_side({case!r}, 'inference', pathlib.Path(sys.argv[1]))"
    )
    # in a process of its own, as in the benchmark: it chooses the device, which can be done once
    subprocess.run([sys.executable, "-c", words, tmp_path], cwd=ROOT, check=True, timeout=1500)
    flow = runtime_side("onnxruntime", case, tmp_path, 1)()
    np.testing.assert_allclose(flow, np.load(tmp_path / "uflow.npz")["flow"], atol=1e-4)
    assert flow.shape == (2, 2, 32, 48) and np.abs(flow).max() > 1e-2
