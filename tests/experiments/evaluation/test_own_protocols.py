"""Protocols that a file brings: with measures of their own, chosen by name, and refused by name."""

import csv
import json
import pathlib
import re

import numpy as np
import pytest

from experiments import evaluate
from experiments.evaluation import protocols
from uflow import extensions

PAGE = (pathlib.Path(__file__).parents[3] / "docs/guide/measures.md").read_text()
GRADED = re.search(r'title="graded.py"\n(.*?)```', PAGE, re.DOTALL)[1]
SHORT = ["--eval", "synthetic", "--max-pairs", "2", "--method", "zero"]


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch):
    monkeypatch.setattr(extensions, "_loaded", {})


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "graded.py"
    path.write_text(GRADED)
    return path


def test_the_measure_of_the_page_is_that_of_its_paper(file):
    extensions.load([file])
    graded, _ = protocols.protocol_of("graded/1")
    truth = np.zeros((2, 1, 6), np.float32)
    flow = truth.copy()
    flow[0, 0] = 0, 0.05, 0.07, 2.5, 5, 5.01
    wanted = []
    for error in flow[0, 0].astype(float):
        weights = [1 - (i - 1) / 100 for i in range(1, 101)]
        wanted.append(100 * sum(w for i, w in enumerate(weights, 1) if error <= i / 20) / sum(weights))
    wanted[1] = wanted[2]  # 0.05 has no exact value: as float32 it is above 1 / 20
    assert graded.measures["share"].per_pixel(flow, truth)[0] == pytest.approx(wanted, abs=1e-12)
    assert wanted[0] == 100 and wanted[-1] == 0


def test_the_command_measures_by_it_and_keeps_where_it_is_from(file, tmp_path, capsys):
    out = tmp_path / "out"
    given = ["--extensions", str(file), "--protocol", "graded/1", "--out", str(out)]
    assert evaluate.main([*SHORT, *given]) == 0
    printed = capsys.readouterr().out
    assert "protocol graded/1: known pixels of all frames alike, by SHARE" in printed
    lines = [line.split() for line in printed.splitlines()]
    (share,), (epe,) = [[line for line in lines if line[:1] == [word]] for word in ("SHARE", "EPE")]
    plain = json.loads((out / "evaluation.json").read_text())
    number = plain["numbers"]["epe/synthetic/all"]
    assert number["protocol"] == plain["protocol"] == "graded/1" and number["unit"] == "px"
    assert plain["numbers"]["share/synthetic/all"]["unit"] == "%"
    assert (share[2], epe[2]) == tuple(
        f"{plain['numbers'][f'{m}/synthetic/all']['value']:.3f}" for m in ("share", "epe")
    )
    (digest,) = [extension.digest for _, extension in protocols.brought().values()]
    assert plain["protocol_extension"] == digest
    assert not any(name.startswith(("fl/", "1px/")) for name in plain["numbers"])
    with open(out / "per_frame.csv") as rows:
        (one, _) = csv.DictReader(rows)
    assert 0 <= float(one["share/all"]) <= 100 and "fl/all" not in one


@pytest.mark.parametrize(
    "right, wrong, said",
    [
        ("PROTOCOLS = (", "PROTOCOLS = 3, (", "PROTOCOLS must be a tuple of experiments.evaluation.protocols.Protocol"),
        ('"graded/1"', '"graded"', "PROTOCOLS: 'graded' has no name with a version, such as mine/1"),
        ('"graded/1"', '"full/1"', "PROTOCOLS: 'full/1' is there already"),
        ('"pixels"', '"objects"', "PROTOCOLS: 'graded/1' has mean_of 'objects'; possible: 'frames' and 'pixels'"),
        ('Measure("SHARE %", "%", share)', "share", "PROTOCOLS: 'graded/1' must have measures by name"),
        ('"share": M', '"W/A": M', "PROTOCOLS: 'graded/1' has a measure 'W/A', whose name must be of lower-case"),
        ('"share": M', '"fl": M', "PROTOCOLS: 'graded/1' has a measure 'fl', which is another one in this project"),
        ("mean_of=", "means_of=", "TypeError: .*unexpected keyword argument 'means_of'"),
        ("return 100 *", "return 100 / 0 *", "protocol graded/1: pair .*: ZeroDivisionError: division by zero"),
        ("return 100 *", "return np.nan *", "protocol graded/1: pair .*: ValueError: share/all is not finite"),
        ("[first]", "[first][0]", "protocol graded/1: pair .*: IndexError: "),
    ],
)
def test_what_is_no_protocol_is_one_sentence_and_leaves_nothing(file, tmp_path, capsys, right, wrong, said):
    assert right in GRADED
    file.write_text(GRADED.replace(right, wrong))
    out = tmp_path / "out"
    assert evaluate.main([*SHORT, "--extensions", str(file), "--protocol", "graded/1", "--out", str(out)]) == 2
    told = capsys.readouterr().err
    assert re.search(said, told) and told.count("\n") == 1, told
    assert not out.exists()


def test_a_name_that_there_is_not_is_refused_with_the_nearest(file, capsys):
    assert evaluate.main([*SHORT, "--extensions", str(file), "--protocol", "grade/1"]) == 2
    assert capsys.readouterr().err == (
        "experiments.evaluate: unknown protocol 'grade/1'; did you mean 'graded/1'? (known: full/1, pixels/1, uflow/1,"
        " graded/1)\n"
    )
