"""A study is a value whose mistakes are named when it is made."""

import pytest

from studies import catalog
from studies.design import Arm, Study, vary


def study(**changes):
    given = {"name": "s", "question": "?", "arms": vary("occlusion", ("none", "wang")), "baseline": "none"}
    return Study(**(given | changes))


def test_vary_makes_an_arm_for_each_component():
    assert vary("occlusion", ("none", "wang")) == (
        Arm("none", {"occlusion.name": "none"}),
        Arm("wang", {"occlusion.name": "wang"}),
    )


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"baseline": "wagn"}, "baseline 'wagn' is not an arm; did you mean 'wang'"),
        ({"arms": (Arm("a", {}), Arm("a", {"seed": 1})), "baseline": "a"}, "label 'a' is used by more than one arm"),
        ({"metric": "px"}, "metric 'px' must be one of"),
    ],
)
def test_mistakes_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        study(**changes)


def test_unknown_component_is_named():
    with pytest.raises(ValueError, match="unknown occlusion component 'wnag'; did you mean 'wang'"):
        vary("occlusion", ("none", "wnag"))


def test_every_study_of_the_package_loads_and_has_its_file_name():
    assert "occlusion_ablation" in catalog.names()
    for name in catalog.names():
        assert catalog.load(name).name == name


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
