import numpy as np
import pytest
from goldens.golden import Golden, flow_planes, planes

from experiments.data.pairs import Pair
from experiments.evaluation.protocols import PROTOCOLS, Total


def pair_of(truth, **more):
    frame = np.zeros((*truth.shape[1:], 3), np.uint8)
    return Pair("p", frame, frame, np.asarray(truth, np.float32), **more)


@pytest.fixture
def scene():
    """One row of five true motions along x and flow with errors 0, 2, 4, 6, 1.5 px, the last pixel not known."""
    truth = np.zeros((2, 1, 5), np.float32)
    truth[0, 0] = 0, 12, 100, 200, 3
    flow = truth.copy()
    flow[1, 0] = 0, 2, 4, 6, 1.5
    pair = pair_of(
        truth,
        occluded=np.array([[False, True, True, False, True]]),
        valid=np.array([[True, True, True, True, False]]),
    )
    return pair, flow


def means(totals):
    return {name: total.mean for name, total in totals.items()}


def test_full_counts_known_pixels(scene):
    found = means(PROTOCOLS["full/1"].totals("sintel_clean", *scene))
    assert found["epe/all"] == 3.0 and found["epe/noc"] == 3.0 and found["epe/occ"] == 3.0
    assert (found["1px/all"], found["3px/all"], found["5px/all"]) == (75.0, 50.0, 25.0)
    assert found["fl/all"] == 0.0  # 4 px are 4 % of 100, 6 px are 3 % of 200
    assert found["3px/noc"] == 50.0 and found["3px/occ"] == 50.0
    assert (found["epe/s0-10"], found["epe/s10-40"], found["epe/s40+"]) == (0.0, 2.0, 5.0)
    # 80 % of the truth is known, and all motions jump
    assert found["epe/d0-10"] == 3.0 and found["epe/d10-60"] is None


def test_fl_needs_both_limits():
    truth = np.zeros((2, 1, 4), np.float32)
    truth[0, 0] = 10, 10, 79, 81
    flow = truth.copy()
    flow[1, 0] = 2.9, 3.1, 4, 4  # 5 % of 79 is 3.95, of 81 it is 4.05
    assert means(PROTOCOLS["full/1"].totals("x", pair_of(truth), flow))["fl/all"] == 50.0


def test_frames_or_pixels():
    totals = [Total(30.0, 10), Total(0.0, 0), Total(10.0, 2)]
    assert PROTOCOLS["full/1"].number("x", "epe", totals) == (3 + 5) / 2
    assert PROTOCOLS["pixels/1"].number("x", "epe", totals) == 40 / 12
    for protocol in PROTOCOLS.values():
        assert protocol.number("x", "epe", [Total(0.0, 0)]) is None


def test_the_references_protocol_counts_invalid_pixels_except_on_kitti(scene):
    protocol = PROTOCOLS["uflow/1"]
    assert means(protocol.totals("sintel_clean", *scene)) == {"epe/all": 13.5 / 5, "fl/all": 0.0}
    assert means(protocol.totals("kitti2015", *scene)) == {
        "epe/all": 3.0, "epe/noc": 3.0, "fl/all": 0.0, "fl/noc": 0.0,
    }  # fmt: skip


def test_the_references_ceiling_is_of_errors_on_kitti_only():
    protocol, totals = PROTOCOLS["uflow/1"], [Total(70.0, 1), Total(90.0, 1)]
    assert protocol.number("kitti2012", "epe", totals) == 50.0
    assert protocol.number("kitti2012", "fl", totals) == 80.0
    assert protocol.number("sintel_final", "epe", totals) == 80.0


def test_the_references_protocol_gives_the_references_numbers(request):
    from goldens.conftest import directory

    place, reason = directory()
    if not (place / "metrics.npz").is_file():
        pytest.skip(f"no goldens of the metrics: {reason or place}")
    golden = Golden(place, "metrics")
    tolerance = golden.tolerance()
    protocol = PROTOCOLS["uflow/1"]

    def numbers(name, pairs):
        totals = [
            protocol.totals(name, pair, flow) for pair, flow in zip(pairs, flow_planes(golden["pred"]), strict=True)
        ]
        return {key: protocol.number(name, key.split("/")[0], [t[key] for t in totals]) for key in totals[0]}

    # the reference reads the invalid mask of Sintel, and does not use it
    nowhere = np.zeros(golden["pred"].shape[1:3], bool)
    got = numbers("sintel_clean", [pair_of(truth, valid=nowhere) for truth in flow_planes(golden["gt"])])
    golden.check("sintel/EPE", got["epe/all"], tolerance)
    golden.check("sintel/ER", got["fl/all"] / 100, tolerance)
    valid, visible = (golden[f"kitti/valid_{name}"][..., 0] != 0 for name in ("occ", "noc"))
    truths = planes(golden["kitti/flow_uv_occ"])
    got = numbers(
        "kitti2015", [pair_of(t, valid=v, occluded=v & ~n) for t, v, n in zip(truths, valid, visible, strict=True)]
    )
    for key, name in (("all", "occ"), ("noc", "noc")):
        golden.check(f"kitti/EPE({name})", got[f"epe/{key}"], tolerance)
        golden.check(f"kitti/ER({name})", got[f"fl/{key}"] / 100, tolerance)
    assert golden.cases == 6 and not golden.failures, golden.failures


def test_an_error_of_just_the_limit_is_no_outlier():
    truth = np.zeros((2, 1, 4), np.float32)
    flow = truth.copy()
    flow[0, 0] = 1, 3, 5, 0
    found = means(PROTOCOLS["full/1"].totals("x", pair_of(truth), flow))
    assert [found[f"{name}/all"] for name in ("1px", "3px", "5px", "fl")] == [50.0, 25.0, 0.0, 25.0]
