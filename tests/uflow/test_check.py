"""`python -m uflow.check` passes components that are right, and names what is wrong with others."""

import pathlib
import re

import pytest

from uflow import appraisal, check, extensions, registry

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "extensions.md"
HEAD = """
from uflow import backend as ms
from uflow.ops.geometry import visible_mean
from uflow.options import Range, option
from uflow.registry import register

@register("{axis}", "mine", source="none")
class Mine:
    '''A component.'''
    {options}
    {more}
"""
WEIGHT = 'weight: float = option(1.0, Range(0.0, 10.0), help="weight")'
CALLS = {
    "photometric": "def __call__(self, image, reconstruction, visible):\n        return ",
    "smoothness": "level = 0\n    def __call__(self, image, flow):\n        return ",
    "occlusion": "def __call__(self, forward, backward):\n        return ",
    "normalization": "def __call__(self, first, second, groups):\n        return ",
}


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch):
    registry.names("photometric")
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    monkeypatch.setattr(extensions, "_loaded", {})


@pytest.fixture
def checked(tmp_path, capsys):
    def run(axis, value, options=WEIGHT):
        options = "" if axis in ("occlusion", "normalization") else options
        (tmp_path / "mine.py").write_text(HEAD.format(axis=axis, options=options, more=CALLS[axis] + value))
        code = check.main([str(tmp_path / "mine.py")])
        lines = capsys.readouterr().out.splitlines()
        assert lines[-1].startswith("1 components, ") and len(lines) > 3
        return code, {line.split(": ")[1] for line in lines[:-1] if line.split(": ")[2] == "failed"}

    return run


# each is wrong in one way, and is found out by that check alone
@pytest.mark.parametrize(
    "axis, value, failed",
    [
        ("photometric", "visible_mean(ms.ops.abs(image - reconstruction), visible)", set()),
        ("photometric", "visible_mean(ms.ops.abs(image + reconstruction), visible)", {"least for equal images"}),
        (
            "photometric",
            "visible_mean(ms.ops.abs(image - ms.ops.stop_gradient(reconstruction)), visible)",
            {"gradient by the reconstruction"},
        ),
        (
            "photometric",
            "(ms.ops.abs(image - reconstruction) * visible).sum() / visible.sum()",
            {"finite if no pixel is visible"},
        ),
        ("smoothness", "ms.ops.square(flow).mean()", {"0 for a constant flow"}),
        ("occlusion", "1.5 * ms.ops.ones_like(forward[:, :1])", {"values in [0, 1]"}),
        ("occlusion", "ms.ops.ones_like(forward)", {"a mask of the frame's size"}),
        ("occlusion", "ms.ops.zeros_like(forward[:, :1])", {"nothing is hidden in a still scene"}),
        ("normalization", "(first - first.mean(axis=0, keep_dims=True), second)", {"groups share no statistics"}),
        ("normalization", "(first[:, :1], second)", {"two finite maps of the same shape"}),
    ],
)
def test_a_component_that_is_wrong_in_one_way_fails_that_check(checked, axis, value, failed):
    code, found = checked(axis, value)
    assert failed <= found and (code == 1) == bool(failed) == bool(found)
    if axis != "normalization":
        assert found == failed


PLAIN = re.search(r"`plain.py`:\n\n```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]


@pytest.mark.parametrize(
    "right, wrong, failed",
    [
        ("multiple = 4", "multiple = 4", ""),
        ("multiple = 4", "multiple = 2", "works at multiples of 4"),
        ("if size % 4]", "]", "names no problem of its own multiples"),
        ("convolution(count, count, 2)", "convolution(count, count)", "a flow at a quarter of the size"),
        ("return (self.flow(", "return (first[0].mean() + self.flow(", "pairs share nothing"),
        (', "bias_init": "zeros"', "", "the same parameters each time"),
        ("return (self.flow(", "return (0 * self.flow(", "gradients of its parameters"),
    ],
)
def test_a_network_that_is_wrong_in_one_way_fails_that_check(tmp_path, capsys, right, wrong, failed):
    assert right in PLAIN
    (tmp_path / "plain.py").write_text(PLAIN.replace(right, wrong))
    code = check.main([str(tmp_path / "plain.py")])
    lines = [line.split(": ") for line in capsys.readouterr().out.splitlines()[:-1]]
    found = [line[1] for line in lines if line[2] == "failed"]
    assert found[:1] == [failed] * bool(failed) and len(found) <= 2  # no gradient of a flow of another shape
    assert len(lines) == (7 if failed else 7 + 2) and code == bool(failed)


GAMMA = re.search(r"`gamma.py`:\n\n```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]
POWER = "return frames**power"


@pytest.mark.parametrize(
    "wrong, failed",
    [
        (POWER, ""),
        ("return frames[:1]", "frames of the same shape"),
        ("import numpy; return frames ** numpy.random.default_rng().uniform()", "decided by the generator"),
        ("frames **= power; return frames", "what is given stays"),
    ],
)
def test_an_augmentation_that_is_wrong_in_one_way_fails_that_check(tmp_path, capsys, wrong, failed):
    assert POWER in GAMMA
    (tmp_path / "gamma.py").write_text(GAMMA.replace(POWER, wrong))
    code = check.main([str(tmp_path / "gamma.py")])
    lines = [line.split(": ") for line in capsys.readouterr().out.splitlines()[:-1]]
    found = [line[1] for line in lines if line[2] == "failed"]
    assert failed in found or not failed and not found
    assert len(lines) == (4 if failed else 4 + 2) and code == bool(failed)


def told(path, capsys):
    """What is told of the component of a file beside its checks, by what it is about."""
    assert check.main([str(path)]) == 0
    lines = [line.split(": ", 2)[1:] for line in capsys.readouterr().out.splitlines()[:-1]]
    return {about: text for about, text in lines if text != "ok"}


def test_of_a_component_that_passes_it_is_told_what_a_reviewer_would_ask(tmp_path, capsys):
    value = "visible_mean(ms.ops.square(image - reconstruction), visible)"
    head = HEAD.format(axis="photometric", options=WEIGHT, more=CALLS["photometric"] + value)
    (tmp_path / "mine.py").write_text(head.replace("10.0)", "10.0), search=Range(0.1, 1.0)"))
    found = told(tmp_path / "mine.py", capsys)
    assert found["what it is"] == "A component. Source: none."
    assert found["options"] == "weight = 1.0 (a number in [0, 10], searched in [0.1, 1])"
    numbers = [float(number) for number in re.findall(r"([\d.e+-]+) %", found["float16"])]
    assert len(numbers) == 2 and all(0 < number < 0.1 for number in numbers)  # float16 has 11 bits
    own, times, known = (float(number) for number in re.findall(r"([\d.]+) (?:ms|times)", found["time"]))
    assert "what census takes" in found["time"] and times == pytest.approx(own / known, abs=0.02 + 0.02 * times)


@pytest.mark.parametrize("value, low, high", [("square(flow)", 1e-3, 0.1), ("sin(1e4 * flow)", 50, 200)])
def test_a_gradient_that_float16_spoils_is_seen(tmp_path, value, low, high):
    more = CALLS["smoothness"] + f"ms.ops.{value}.mean()"
    (tmp_path / "mine.py").write_text(HEAD.format(axis="smoothness", options=WEIGHT, more=more))
    extensions.load([tmp_path / "mine.py"])
    lines = dict(line.split(": ", 1) for line in appraisal.lines(registry.entry("smoothness", "mine")))
    assert low < float(re.findall(r"([\d.e+-]+) %", lines["float16"])[1]) < high
    assert "what first_order takes" in lines["time"]


def test_what_cannot_be_compiled_and_what_lacks_an_option_is_named(checked, capsys):
    code, found = checked("photometric", "no_such_name(image)", options="")
    assert code == 1 and {"has what its axis asks for", "a finite scalar"} <= found


def test_the_built_in_components_of_an_axis_pass(capsys):
    assert check.main(["--axis", "normalization"]) == 0
    lines = capsys.readouterr().out.splitlines()
    count = len(registry.names("normalization"))
    assert lines[-1] == f"{count} components, 0 checks failed" and all(line.endswith(": ok") for line in lines[:-1])


@pytest.mark.parametrize(
    "words, said",
    [
        ([], "usage: python -m uflow.check"),
        (["--axis", "color"], "--axis needs one of photometric, occlusion"),
        (["none.py"], "extension 'none.py' does not exist"),
    ],
)
def test_wrong_usage_ends_with_one_sentence(capsys, words, said):
    assert check.main(words) == 2
    assert said in capsys.readouterr().err
