"""An axis that a file brings: its terms are in the loss, its components in specs, and nothing where it is not used."""

import hashlib
import pathlib
import re

import numpy as np
import pytest

from experiments.spec import canonical, changed, components, default_spec, from_config, prefix_id, to_config
from experiments.training import graph_cache
from studies import run
from studies.planning.costs import shape
from studies.search.space import space
from uflow import extensions, registry, table

PAGE = (pathlib.Path(__file__).parents[2] / "docs/guide/component.md").read_text()
MEDIUM, FLUID = (re.search(rf'title="{name}.py"\n(.*?)```', PAGE, re.DOTALL)[1] for name in ("medium", "fluid"))
OTHER = """
from uflow.registry import register, register_axis

register_axis("area")

@register("area", "wide", source="none")
class Wide:
    '''Not narrow.'''
    weight = 3.0
    level = 1

    def __call__(self, image, flow):
        return (flow * flow).mean() + image.mean()
"""


pytestmark = pytest.mark.usefixtures("no_extensions")


@pytest.fixture
def bring(tmp_path):
    def write(text=MEDIUM, name="medium.py"):
        (tmp_path / name).write_text(text)
        extensions.load([tmp_path / name])
        return tmp_path / name

    return write


def using(**options):
    return changed(default_spec(), {"medium.name": "incompressible"} | {f"medium.{k}": v for k, v in options.items()})


def test_a_run_without_the_axis_is_what_it_was(bring):
    def known():
        spec = default_spec()
        return to_config(spec), spec.run_id, spec.directory, prefix_id(spec, 9), graph_cache.graph_key(spec, 0)

    before, cost = known(), shape(to_config(default_spec()), "CPU")
    bring()
    assert known() == before and before[1] == "c2ce62d04a1f" and shape(to_config(default_spec()), "CPU") == cost
    assert using() != default_spec() and changed(using(), {"medium.name": "none"}) == default_spec()
    assert components(default_spec()).more == ()


def test_a_component_of_the_axis_is_part_of_a_spec_as_any_other(bring):
    file = bring()
    spec = using(weight="0.5")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:12]
    written = {"name": "incompressible", "revision": 1, "weight": 0.5, "level": 2, "extension": digest}
    assert canonical(spec)["medium"] == to_config(spec)["medium"] == written and from_config(to_config(spec)) == spec
    assert "-incompressible_s0__" in spec.directory and hash(spec) == hash(from_config(to_config(spec)))
    assert spec.medium.weight == 0.5 and components(spec).more == (spec.medium,)
    assert "medium.weight" in {parameter.key for parameter in space(spec)}
    assert "medium.weight" not in {parameter.key for parameter in space(default_spec())}
    names = {graph_cache.graph_key(each, 0) for each in (default_spec(), using(), spec)}  # weights are in the graph
    assert len(names) == len({prefix_id(each, 9) for each in (default_spec(), using(), spec)}) == 3


def test_the_table_of_components_has_what_a_file_brings(tmp_path, capsys):
    (tmp_path / "medium.py").write_text(MEDIUM)
    assert table.main([str(tmp_path / "medium.py")]) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| medium |")]
    assert [row[1:3] for row in rows] == [
        ["`none`", "Not this term."],
        ["`incompressible`", "Absolute divergence of the flow: nothing is made or lost."],
    ]
    assert "`weight` = 0.1 ([0, 100])" in rows[1][3]


def test_the_order_of_axes_and_of_files_is_no_part_of_a_spec(bring, tmp_path):
    bring()
    bring(OTHER, "other.py")
    chosen = {"medium.name": "incompressible", "area.name": "wide"}
    first = changed(default_spec(), chosen)
    named = first.directory
    assert "-wide-incompressible_s0__" in named
    assert [axis for axis, _ in first.terms] == ["area", "medium"]
    for name in ("other.py", "medium.py"):
        registry.withdraw(tmp_path / name)
    assert "medium" not in registry.AXES and "area" not in registry.AXES
    extensions._loaded.clear()
    extensions.load([tmp_path / "other.py", tmp_path / "medium.py"])
    assert changed(default_spec(), chosen).directory == named


def test_another_content_of_the_file_takes_the_place_of_the_old_one(bring):
    bring()
    stored = to_config(using())
    bring(MEDIUM + "# another content\n")
    assert using().run_id != from_config(to_config(default_spec())).run_id
    with pytest.raises(ValueError, match="medium component 'incompressible' was stored as that of a file with digest"):
        from_config(stored)


def test_a_spec_whose_axis_was_not_loaded_says_how_to_give_it(bring):
    file = bring()
    stored = to_config(using())
    registry.withdraw(file)
    with pytest.raises(ValueError, match="axis 'medium' is not of this project but of a file; give it, and that of the"
                                         " component 'incompressible', with --extensions"):  # fmt: skip
        from_config(stored)


@pytest.mark.parametrize(
    "text, said",
    [
        (
            MEDIUM.replace('register_axis("medium")', 'register_axis("smoothness")'),
            "axis 'smoothness' is there already",
        ),
        (MEDIUM.replace('register_axis("medium")', 'register_axis("train")'), "axis 'train' must be a word that means"),
        (MEDIUM.replace('"medium", "inc', '"medum", "inc'), "unknown axis 'medum'; did you mean 'medium'"),
        (MEDIUM.replace('"incompressible"', '"none"'), "medium component 'none' is already that of "),
        (MEDIUM + "raise RuntimeError('late')", "RuntimeError: late"),
    ],
)
def test_what_is_no_axis_is_refused_and_leaves_nothing(tmp_path, text, said):
    file, axes, entries = tmp_path / "medium.py", dict(registry.AXES), dict(registry._entries)
    file.write_text(text)
    with pytest.raises(ValueError) as caught:
        extensions.load([file])
    assert said in str(caught.value) and str(file) in str(caught.value) and "\n" not in str(caught.value)
    assert registry.AXES == axes and registry._entries == entries


def test_the_other_words_of_a_spec_are_no_axes():
    from dataclasses import fields

    names = {field.name for field in fields(default_spec())} | {"format"}
    assert names == {*registry.AXES, *registry.PARTS}


def test_a_study_varies_the_axis_and_its_options_are_for_the_arm_that_has_them(bring, tmp_path, capsys):
    file = bring()
    (tmp_path / "fluid.py").write_text(FLUID)
    asked = [str(tmp_path / "fluid.py"), "--preset", "smoke", "--plan", "--out", str(tmp_path / "out"), "--json"]
    assert run.main([*asked, "--extensions", str(file), "--set", "medium.weight=0.5"]) == 0
    plan = capsys.readouterr().out
    assert "-incompressible_s0__" in plan
    assert run.main([*asked, "--extensions", str(file), "--set", "medium.weigth=0.5"]) == 2
    assert "did you mean 'medium.weight'?" in capsys.readouterr().err


@pytest.mark.slow
def test_the_terms_are_in_the_loss_of_both_directions_with_their_weights(bring):
    from goldens.graph import tensors

    from uflow import backend as ms
    from uflow.losses.terms import Losses
    from uflow.ops.geometry import image_at_level, upsample_flow

    bring()
    bring(OTHER, "other.py")
    changes = {"photometric.name": "l1", "occlusion.name": "none", "smoothness.name": "none", "selfsup.name": "none"}
    chosen = {"medium.name": "incompressible", "medium.weight": 0.5, "area.name": "wide"}
    generator = np.random.default_rng(0)
    images, flow = generator.random((2, 3, 32, 32), np.float32), generator.normal(0, 2, (2, 2, 8, 8)).astype(np.float32)

    class Called(ms.nn.Cell):
        def __init__(self, losses):
            super().__init__()
            self.losses = losses

        @ms.jit
        def construct(self, images, flow):
            return self.losses(images, flow)[4]

    for only, count, share in ((False, 2, 1.0), (True, 1, 0.5)):
        losses = Losses(components(changed(default_spec(), changes | chosen)), only)
        found = float(Called(losses)(*tensors([images, flow])).asnumpy())
        frames, flows = tensors([images[:count], flow[:count]])
        divergence = np.diff(flow[:count, :1], axis=3)[:, :, 1:] + np.diff(flow[:count, 1:], axis=2)[..., 1:]
        wide = upsample_flow(flows).asnumpy()
        level = image_at_level(frames, 1).asnumpy()
        expected = 0.5 * np.abs(divergence).mean() + 3.0 * ((wide**2).mean() + level.mean())
        assert found == pytest.approx(share * expected, rel=1e-5)
