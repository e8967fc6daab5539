"""A data set of two frames whose numbers are computed by hand, measured with flow that is given."""

import csv
import dataclasses
import json

import numpy as np
import pytest

from experiments.data.pairs import DataError, Pair
from experiments.evaluation import evaluator, report_files
from experiments.evaluation.estimation import FlowEstimate
from experiments.evaluation.evaluator import NotFinite, measure
from experiments.evaluation.protocols import PROTOCOLS

FULL = PROTOCOLS["full/1"]
FRAME = np.zeros((1, 4, 3), np.uint8)


def flow_of(*lengths):
    flow = np.zeros((2, 1, 4), np.float32)
    flow[0, 0] = lengths
    return flow


@dataclasses.dataclass
class Given:
    """Stands for a network: its flow and visibility are known."""

    flows: list
    visible: list
    confidence: tuple = ()

    def batch_size(self, frame):
        return 1

    def estimates(self, pairs, always=False):
        for index, pair in enumerate(pairs):
            yield FlowEstimate(pair, self.flows[index], self.visible[index], *self.confidence[index : index + 1])


@dataclasses.dataclass
class Pairs:
    """Pairs that are there, and faults that reading the others meets."""

    items: list
    name: str = "made"

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        if isinstance(self.items[index], Exception):
            raise self.items[index]
        return self.items[index]


@pytest.fixture
def pairs():
    hidden = np.array([[False, False, True, True]])
    return Pairs([
        Pair("a", FRAME, FRAME, flow_of(0, 0, 0, 0), occluded=hidden),
        Pair("b", FRAME, FRAME, flow_of(0, 0, 0, 0), valid=np.array([[True, True, True, False]])),
    ])  # fmt: skip


@pytest.fixture
def given():
    visible = np.array([[1.0, 0.5, 0.0, 0.5]], np.float32)
    return Given([flow_of(0, 2, 4, 6), flow_of(1, 1, 4, 99)], [visible, None])


def test_numbers_are_means_over_frames(pairs, given):
    found = measure(given, pairs, FULL)
    assert found.pairs == ("a", "b") and found.skipped == ()
    assert found.numbers["epe/all"] == (3.0 + 2.0) / 2
    assert found.numbers["epe/noc"] == 1.0 and found.numbers["epe/occ"] == 5.0
    assert found.numbers["1px/all"] == pytest.approx((75 + 100 / 3) / 2)
    assert found.frames["epe/all"] == 2 and found.frames["epe/occ"] == 1
    assert "epe/s40+" not in found.numbers and "epe/d0-10" not in found.numbers
    assert found.rows[1]["epe/occ"] is None and found.rows[1]["epe/all"] == 2.0


def test_numbers_as_means_over_pixels(pairs, given):
    assert measure(given, pairs, PROTOCOLS["pixels/1"]).numbers["epe/all"] == (12 + 6) / 7


def test_the_occlusion_score_is_of_what_is_hidden(pairs, given):
    # scores 0, .5, 1, .5; hidden are the last two: below .5 both are found with one false alarm, precision 2/3
    found = measure(given, pairs, FULL).occlusion
    assert found.f_score == pytest.approx(0.8, abs=1e-5) and found.threshold == 0.0 and found.frames == 1
    given.visible[0] = np.array([[0.9, 0.8, 0.3, 0.3]], np.float32)
    found = measure(given, pairs, FULL).occlusion
    assert found.f_score == pytest.approx(1.0, abs=1e-5)
    assert found.threshold == pytest.approx(8 / 39)  # the first of 40 thresholds that is not below 0.2
    given.visible[0] = None
    assert measure(given, pairs, FULL).occlusion is None


def test_confidence_is_measured_by_the_order_of_the_errors(pairs, given):
    assert measure(given, pairs, FULL).confidence is None
    # errors 0, 2, 4, 6, and 1, 1, 4 of the known pixels
    given.confidence = tuple(np.array([x], np.float32) for x in ((0.9, 0.8, 0.2, 0.1), (0.9, 0.9, 0.1, 0.95)))
    found = measure(given, pairs, FULL).confidence
    assert found.ause == 0 and found.frames == 2 and found.curve == found.oracle
    assert found.curve[10] == pytest.approx((1 / 3 + 1 / 2) / 2)  # two pixels of four and of three are taken away
    given.confidence = (-given.confidence[0], given.confidence[1])
    assert measure(given, pairs, FULL).confidence.curve[10] == pytest.approx((5 / 3 + 1 / 2) / 2)


def test_pixels_that_are_not_known_do_not_score(given):
    hidden = np.array([[False, False, True, True]])
    valid = np.array([[True, False, True, True]])
    only = Pairs([Pair("a", FRAME, FRAME, flow_of(0, 0, 0, 0), occluded=hidden, valid=valid)])
    assert measure(given, only, FULL).occlusion.f_score == pytest.approx(1.0, abs=1e-5)


def test_frames_without_a_known_pixel_are_in_no_number_and_told(pairs, given):
    hidden = np.array([[False, False, True, True]])
    nothing = Pair("c", FRAME, FRAME, flow_of(0, 0, 0, 0), occluded=hidden, valid=np.zeros((1, 4), bool))
    without = measure(given, pairs, FULL)
    pairs.items.append(nothing)
    given = Given([*given.flows, flow_of(1, 1, 1, 1)], [given.visible[0], None, given.visible[0]])
    found = measure(given, pairs, FULL)
    assert found.pairs == ("a", "b", "c") and found.unknown == ("c",) and without.unknown == ()
    assert (found.numbers, found.frames, found.occlusion) == (without.numbers, without.frames, without.occlusion)
    lines = report_files.table(found, "brox").splitlines()
    assert lines[-1] == "in no number, having no known pixel: 1 of 3 pairs (c)"
    assert not any("in no number" in line for line in report_files.table(without, "brox").splitlines())
    assert measure(given, pairs, PROTOCOLS["uflow/1"]).unknown == ()  # which counts every pixel of such a set


def test_unreadable_pairs_are_left_out_up_to_a_number(pairs, given):
    pairs.items[1:1] = [DataError("x.png: cut off"), DataError("y.png: is missing")]
    found = measure(given, pairs, FULL, allowed=2)
    assert found.pairs == ("a", "b") and found.skipped == ("x.png: cut off", "y.png: is missing")
    with pytest.raises(DataError, match=r"y.png: is missing \(2 pairs cannot be read, --skip-bad 1 allows fewer\)"):
        measure(given, pairs, FULL, allowed=1)
    with pytest.raises(DataError, match=r"^x.png: cut off$"):
        measure(given, pairs, FULL)


def test_the_first_pairs_only(pairs, given):
    pairs.items.append(DataError("not to be read"))
    assert measure(given, pairs, FULL, count=1).pairs == ("a",)
    with pytest.raises(DataError, match="made: none of 1 pairs is left"):
        measure(given, Pairs([DataError("bad")]), FULL, allowed=1)


def test_what_cannot_be_measured(pairs, given):
    given.flows[1][0, 0, 3] = np.inf  # also where the truth is not known
    with pytest.raises(NotFinite, match="pair b of made is not finite"):
        measure(given, pairs, FULL)
    pairs.items[1] = Pair("c", FRAME, FRAME)
    with pytest.raises(DataError, match="pair c: has no ground truth flow"):
        measure(given, pairs, FULL)


def test_files_hold_every_number_with_its_protocol(pairs, given, tmp_path):
    found = measure(given, pairs, FULL)
    report_files.write(tmp_path, FULL, {"size": None}, [(found, {"digest": "d"})])
    plain = json.loads((tmp_path / "evaluation.json").read_text())
    assert plain["protocol"] == "full/1" and plain["sets"] == [
        {"name": "made", "digest": "d", "skipped": [], "unknown": []}
    ]
    assert plain["numbers"]["epe/made/all"] == {"value": 2.5, "unit": "px", "protocol": "full/1", "frames": 2}
    assert plain["numbers"]["fl/made/all"]["unit"] == "%" and plain["numbers"]["occlusion_f/made"]["frames"] == 1
    with open(tmp_path / "per_frame.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["frame"] for row in rows] == ["a", "b"] and {row["data"] for row in rows} == {"made"}
    assert [float(row["epe/all"]) for row in rows] == [3.0, 2.0]
    assert rows[1]["epe/occ"] == "" and float(rows[0]["epe/occ"]) == 5.0
    odd = dataclasses.replace(found, pairs=("\x1b[2J\n\udce9é", "b"), unknown=("\x07",), skipped=("\u202e",))
    lines = report_files.frame_table([odd]).splitlines()
    assert len(lines) == 3 and lines[1].startswith(r"made,\x1b[2J\n\udce9é,3.0,")
    assert [line.split()[-1] for line in report_files.table(odd, "brox").splitlines()[-2:]] == [
        r"\u202e",
        r"(\x07)",
    ]
    table = report_files.table(found, "brox").splitlines()
    assert table[0].split() == ["all", "noc", "occ", "s0-10"]
    assert table[1].split() == ["EPE", "px", "2.500", "1.000", "5.000", "2.500"]
    assert "frames" in table[6] and table[6].split()[1:] == ["2", "1", "1", "2"]


def test_what_a_study_keeps_is_a_part_of_the_numbers(pairs, given, monkeypatch):
    monkeypatch.setattr(evaluator, "Estimator", lambda network: network)
    pairs.name = "one;other"
    whole, kept = measure(given, pairs, FULL), evaluator.evaluate(given, pairs)
    assert kept.metrics == {f"epe/one+other/{kind}": whole.numbers[f"epe/{kind}"] for kind in ("all", "noc", "occ")}
    assert kept.frames == {
        "epe/one+other/all": (3.0, 2.0), "epe/one+other/noc": (1.0, None), "epe/one+other/occ": (5.0, None),
    }  # fmt: skip
    given.flows[1][0, 0, 3] = np.inf
    assert evaluator.evaluate(given, pairs) == evaluator.Evaluation({}, {}, finite=False)
