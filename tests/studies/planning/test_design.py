"""A study is a value whose mistakes are named when it is made, and its arms follow from small functions."""

import pytest

import studies
from experiments.cli.flags import parse_changes
from experiments.spec import changed, default_spec
from studies.design import (
    Arm,
    Study,
    add_each,
    cross,
    drop_each,
    factorial,
    vary,
)
from studies.planning import catalog, plan_store


def study(**changes):
    given = {"name": "s", "question": "?", "arms": vary("occlusion", ("none", "wang")), "baseline": "none"}
    return Study(**(given | changes))


def test_vary_makes_an_arm_for_each_component():
    assert vary("occlusion", ("none", "wang")) == (
        Arm("none", {"occlusion.name": "none"}),
        Arm("wang", {"occlusion.name": "wang"}),
    )


def test_vary_names_every_unknown_component():
    with pytest.raises(ValueError, match="(?s)component 'wnag'; did you mean 'wang'.*component 'brix'"):
        vary("occlusion", ("none", "wnag", "brix"))


ONE = (Arm("a", {"x": 1}), Arm("b", {"x": 2}))
OTHER = (Arm("", {"y": 1}), Arm("far", {"y": 2}))


def test_cross_has_every_pair_settings_outermost():
    assert cross(ONE, OTHER) == (
        Arm("a", {"x": 1, "y": 1}),
        Arm("b", {"x": 2, "y": 1}),
        Arm("a+far", {"x": 1, "y": 2}),
        Arm("b+far", {"x": 2, "y": 2}),
    )


def test_cross_within_compares_with_the_first_arm_of_the_same_setting():
    assert [(arm.label, arm.against) for arm in cross(ONE, OTHER, within=True)] == [
        ("a", "a"), ("b", "a"), ("a+far", "a+far"), ("b+far", "a+far"),
    ]  # fmt: skip


def test_parts_are_dropped_one_at_a_time():
    assert drop_each(Arm("full", {"x": 1, "y": 1}), {"x": {"x": 0}, "z": {"z": 0}}) == (
        Arm("full", {"x": 1, "y": 1}),
        Arm("no x", {"x": 0, "y": 1}),
        Arm("no z", {"x": 1, "y": 1, "z": 0}),
    )


def test_parts_are_added_one_at_a_time():
    assert add_each(Arm("bare", {"x": 0}), {"x": {"x": 1}, "z": {"z": 1}}) == (
        Arm("bare", {"x": 0}),
        Arm("x", {"x": 1}),
        Arm("z", {"x": 0, "z": 1}),
    )


FACTORS = {name: ({name: 0}, {name: 1}) for name in "abc"}


def test_a_factorial_has_every_cell_once_and_says_every_setting():
    arms = {arm.label: tuple(arm.changes[name] for name in "abc") for arm in factorial(FACTORS)}
    assert arms == {
        "full": (1, 1, 1),
        "no a": (0, 1, 1),
        "no b": (1, 0, 1),
        "no c": (1, 1, 0),
        "only c": (0, 0, 1),
        "only b": (0, 1, 0),
        "only a": (1, 0, 0),
        "nothing": (0, 0, 0),
    }


@pytest.mark.parametrize("count", [2, 4, 5])
def test_labels_of_a_factorial_are_unique(count):
    names = [f"f{i}" for i in range(count)]
    labels = [arm.label for arm in factorial({name: ({name: 0}, {name: 1}) for name in names})]
    assert len(set(labels)) == len(labels) == 2**count


def test_what_is_taken_away_is_compared_with_the_baseline_and_what_is_brought_in_with_nothing():
    against = {arm.label: arm.against for arm in factorial(FACTORS)}
    assert against == dict.fromkeys(("full", "no a", "no b", "no c", "nothing"), "") | dict.fromkeys(
        ("only a", "only b", "only c"), "nothing"
    )
    four = {arm.label: arm.against for arm in factorial({name: ({name: 0}, {name: 1}) for name in "abcd"})}
    assert four["no a+b"] == "" and four["only d"] == "nothing" and len(four) == 16


def test_one_factor_is_no_factorial():
    with pytest.raises(ValueError, match="at least two factors, got 1"):
        factorial({"a": ({}, {})})


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"baseline": "wagn"}, "baseline 'wagn' is not an arm; did you mean 'wang'"),
        ({"arms": (Arm("a", {}), Arm("a", {"seed": 1})), "baseline": "a"}, "label 'a' is used by more than one arm"),
        ({"metric": "s40+"}, "metric 's40\\+' must be 'all', 'noc', 'occ' or"),
        ({"core": ("none", "wagn")}, "core arm 'wagn' is not an arm; did you mean 'wang'"),
        ({"core": ("wang",)}, "the baseline 'none' must be one of the core arms"),
        ({"arms": (Arm("none", {}), Arm("all", {})), }, "label 'all' must not be"),
        ({"arms": (Arm("none", {}), Arm("a,b", {})), }, "label 'a,b' must not .* hold a comma"),
        ({"arms": (Arm("none", {}), Arm("b", {}, against="c")), }, "to compare with, 'c' is not an arm"),
        ({"baseline": "x", "metric": "p x"}, "baseline 'x' is not an arm.*metric 'p x'"),
    ],
)  # fmt: skip
def test_mistakes_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        study(**changes)


def test_every_study_of_the_package_loads_and_has_its_file_name():
    assert set(catalog.names()) >= {
        "augmentation_ablation", "model_ablation", "noise_floor", "normalization_ablation", "occlusion_ablation",
        "occlusion_x_motion", "photometric_ablation", "photometric_x_illumination", "selfsup_ablation",
        "smoothness_ablation", "what_matters",
    }  # fmt: skip
    for name in catalog.names():
        assert catalog.load(name).name == name


def test_a_study_of_the_package_that_is_not_called_like_its_file_is_refused(tmp_path, monkeypatch):
    text = (
        "from studies.design import Arm, Study\n"
        "STUDY = Study(name='other', question='?', arms=(Arm('a', {}),), baseline='a')\n"
    )
    (tmp_path / "questioned.py").write_text(text)
    monkeypatch.setattr(studies, "__path__", [str(tmp_path), *studies.__path__])
    assert catalog.names() == ("questioned",)
    with pytest.raises(ValueError, match="study 'questioned': its name is 'other', it must be that of its file"):
        catalog.load("questioned")


def test_a_study_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from studies.design import Study, vary\n"
        "STUDY = Study(name='mine', question='?', arms=vary('occlusion', ('none', 'brox')), baseline='none')\n"
    )
    assert [arm.label for arm in catalog.load(str(path)).arms] == ["none", "brox"]


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "does not exist"),
        ("x = 1", "defines no STUDY"),
        ("raise RuntimeError('broken')", "RuntimeError: broken"),
        ("STUDY = (", "SyntaxError: '\\(' was never closed \\(mine.py, line 1\\)"),
        ("from studies.design import Arm, Study\nSTUDY = Study(name='mine', question='?', arms=(Arm('a', {}),"
         " Arm('a', {})), baseline='b')", "label 'a' is used by more than one arm; baseline 'b' is not an arm"),
        ("from studies.design import Study, vary\nSTUDY = Study(name='../up', question='?',"
         " arms=vary('occlusion', ('none',)), baseline='none')", "must be an identifier"),
    ],
)  # fmt: skip
def test_a_bad_study_file_is_one_sentence(tmp_path, content, message):
    path = tmp_path / "mine.py"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=message):
        catalog.load(str(path))


@pytest.mark.parametrize("label", ["=1+1", "+a", "-a", "@a", "a\x1b[31m", "a\x00", "a\rb"])
def test_labels_that_a_spreadsheet_or_a_terminal_would_obey_are_refused(label):
    with pytest.raises(ValueError, match="a control character, or begin with"):
        Study(name="mine", question="?", baseline=label, arms=(Arm(label, {}),))


@pytest.mark.parametrize(
    "code, message",
    [
        ("import sys; sys.exit(0)", "ends the process"),
        ("raise KeyboardInterrupt", "interrupted while it was being read"),
        ("from studies.design import *\nSTUDY = Study(name='runs', question='?', baseline='a', arms=(Arm('a', {}),))",
         "must not be named 'runs'"),
    ],
)  # fmt: skip
def test_a_study_file_that_cannot_be_one_is_refused(tmp_path, code, message):
    path = tmp_path / "mine.py"
    path.write_text(code)
    with pytest.raises(ValueError, match=message):
        catalog.load(str(path))


def test_a_plan_that_is_no_object_is_refused(tmp_path):
    (tmp_path / "plan.json").write_text('"text"')
    with pytest.raises(ValueError, match="not a plan"):
        plan_store.stored(tmp_path)


def test_a_key_that_is_set_twice_is_refused():
    with pytest.raises(ValueError, match="train.steps is set twice"):
        parse_changes(["train.steps=1", "train.steps=2"])


def test_minus_zero_is_zero():
    minus, plain = (changed(default_spec(), {"train.decay_start": zero}) for zero in ("-0", "0"))
    assert minus.run_id == plain.run_id


def test_a_time_that_is_no_number_is_refused(capsys):
    from experiments import run

    assert run.main(["--checkpoint-seconds", "nan"]) == 2
    assert "--checkpoint-seconds must be 0 or more, got nan" in capsys.readouterr().err
