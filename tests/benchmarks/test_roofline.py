from benchmarks import roofline
from benchmarks.cases import CASES
from uflow.models.architecture import Architecture


def test_the_convolutions_are_all_that_the_network_has():
    layers = roofline.convolutions(Architecture(), 384, 512)
    # a transposed convolution has 16 taps, of which 4 meet each output; nothing reads what level 2 would hand on
    values = sum(i * o * (16 if taps == 4 else taps) + o for i, o, taps, _ in layers)
    assert values == 5_718_218 - (32 * 32 * 16 + 32)


def test_a_step_costs_three_passes_and_self_supervision_four_more():
    case = CASES["64x64"]
    plain, taught = roofline.step_cost(case, False), roofline.step_cost(case, True)
    assert taught[0] / plain[0] == taught[1] / plain[1] == 7 / 3
    # 2 x 3 x 8 x 9 operations at each of 32 x 32 pixels for the first convolution of one image
    assert roofline.convolutions(case.spec(False).network, 64, 64)[0] == (3, 8, 9, 32 * 32)


def test_the_longer_of_arithmetic_and_traffic_counts():
    case = CASES["64x64"]
    flops, moved = roofline.step_cost(case, False)
    assert roofline.bound_ms(case, False, roofline.Machine(flops, 1e30)) == 1000.0
    assert roofline.bound_ms(case, False, roofline.Machine(1e30, moved / 2)) == 2000.0


def test_inference_costs_both_pyramids_and_the_rest_once():
    case = CASES["64x64"]
    # a third of a step is one pass over both directions: twice what inference costs beside the pyramids
    layers = roofline.convolutions(case.spec(False).network, 64, 64)
    pyramid = sum(2 * i * o * taps * pixels for i, o, taps, pixels in layers[:9])  # three levels of three
    both = roofline.step_cost(case, False)[0] / 3
    assert roofline.inference_flops(case) == both / 2 + case.batch * pyramid
    assert roofline.flops_of(case, "inference") == roofline.inference_flops(case)
    assert roofline.flops_of(case, "selfsup") == roofline.step_cost(case, True)[0]


def test_the_peak_is_that_of_the_vectors_and_none_without_a_compiler(monkeypatch):
    # no CPU does less than an operation or more than 256 a nanosecond on one core, however busy it is
    assert 1e6 < roofline.peak_of_thread(rounds=1000, repeats=3) < 256e9
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert roofline.peak_of_thread() is None
