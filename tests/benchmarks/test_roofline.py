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
