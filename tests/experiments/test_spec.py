"""A spec is a value; its name depends on all that matters and on nothing else."""

import dataclasses
import json
import re

import pytest

from experiments.spec import (
    canonical,
    changed,
    default_spec,
    flatten,
    from_config,
    moved,
    named_alike,
    nest,
    prefix_id,
    problems_of,
    to_config,
    with_seed,
)
from uflow import options, registry

SMALL = changed(default_spec(), {"network.levels": 3, "data.height": 64, "data.width": 64, "selfsup.crop_height": 8,
                                 "selfsup.crop_width": 8})  # fmt: skip


def test_survives_json():
    again = from_config(json.loads(json.dumps(to_config(SMALL))))
    assert again == SMALL and again.run_id == SMALL.run_id


def test_canonical_form_is_read_back_as_the_same_run():
    assert from_config(json.loads(json.dumps(canonical(SMALL)))).run_id == SMALL.run_id


def test_whole_numbers_given_for_numbers_are_the_same_run():
    config = to_config(SMALL)
    config["smoothness"]["weight"] = 4
    config["train"]["steps"] = 1e6
    assert from_config(config).run_id == SMALL.run_id


@pytest.mark.parametrize(
    "key, value",
    [
        ("seed", 1),
        ("train.steps", 7),
        ("train.learning_rate", 1e-3),
        ("occlusion.name", "none"),
        ("occlusion.start", 0.25),
        ("network.width", 0.5),
        ("data.digest", "0" * 16),
        ("data.scenes.seed", 2),
        ("evaluation.digest", "1" * 16),
    ],
)
def test_run_id_follows_content(key, value):
    assert changed(SMALL, {key: value}).run_id != SMALL.run_id


def test_run_id_does_not_follow_paths_or_unused_scenes():
    here = changed(SMALL, {"data.source": "flyingchairs:/here"})
    there = changed(SMALL, {"data.source": "flyingchairs:/there", "data.scenes.seed": 5})
    assert here.run_id == there.run_id and "/here" not in json.dumps(canonical(here))


def test_how_often_a_set_is_taken_is_recorded():
    spec = changed(SMALL, {"data.source": "synthetic*2;sintel-clean:/here*3", "data.scenes.seed": 5})
    assert canonical(spec)["data"]["source"] == "synthetic*2;sintel_clean*3" and "scenes" in canonical(spec)["data"]
    assert spec.directory.startswith("synthetic+sintel_clean_")
    assert spec.run_id != changed(spec, {"data.source": "synthetic;sintel_clean:/here*3"}).run_id
    assert spec.run_id == changed(spec, {"data.source": "synthetic*2;sintel_clean:/there*3"}).run_id


def test_the_working_size_of_the_evaluation_counts_where_it_is_given():
    assert set(canonical(SMALL)["evaluation"]) == {"source", "digest", "protocol"}
    assert SMALL.evaluation.size is None and SMALL.evaluation.numbers == "full/1"
    sized = changed(SMALL, {"evaluation.height": 384, "evaluation.width": "512"})
    assert sized.evaluation.size == (384, 512) and sized.evaluation.numbers == "full/1@384x512"
    other = changed(sized, {"evaluation.height": 448})
    assert len({spec.run_id for spec in (SMALL, sized, other)}) == 3
    assert len({prefix_id(spec, 1) for spec in (SMALL, sized, other)}) == 3
    assert from_config(canonical(sized)).run_id == sized.run_id
    assert prefix_id(changed(SMALL, {"evaluation.digest": "1" * 16}), 1) == prefix_id(SMALL, 1)


def test_the_size_of_scenes_counts_where_it_is_given_and_there_are_scenes():
    assert not {"scene_height", "scene_width"} & set(canonical(SMALL)["data"])
    drawn = {"data.scene_height": 128, "data.scene_width": 96}
    sized = changed(SMALL, drawn)
    assert sized.data.scene_size == (128, 96) and SMALL.data.scene_size == (SMALL.data.height, SMALL.data.width)
    assert sized.run_id != SMALL.run_id and from_config(canonical(sized)).run_id == sized.run_id
    files = changed(SMALL, {"data.source": "flyingchairs:/here"})
    assert changed(files, drawn).run_id == files.run_id
    with pytest.raises(ValueError, match="scene_height=128 and scene_width=0: give both or neither"):
        changed(SMALL, {"data.scene_height": 128})


def test_run_id_follows_only_the_options_that_its_scenes_follow():
    def ids(source, **options):
        changes = {f"data.scenes.{name}": value for name, value in options.items()}
        return changed(SMALL, {"data.source": source} | changes).run_id

    for source, used, unused in (
        ("synthetic", {"waves": 7}, {"photo_blur": 1.0, "photo_part_max": 1.0}),
        ("photos:/here", {"photo_blur": 1.0}, {"waves": 7, "color_max": 0.5}),
        ("photos;synthetic", {"photo_blur": 1.0, "waves": 7}, {}),
    ):
        assert ids(source, **unused) == ids(source)
        assert len({ids(source), *(ids(source, **{name: value}) for name, value in used.items())}) == 1 + len(used)
        assert ids(source, radius_max=20.0) != ids(source)
    assert ids("photos:/here") == ids("photos:/there") == ids("photos") != ids("synthetic")


def test_text_is_read_in_the_type_of_the_option():
    spec = changed(
        SMALL, {"train.steps": "12", "train.only_forward": "true", "train.learning_rate": "2e-4", "seed": "3"}
    )
    assert (spec.train.steps, spec.train.only_forward, spec.train.learning_rate, spec.seed) == (12, True, 2e-4, 3)


def test_another_component_starts_from_its_own_defaults_and_the_usual_options():
    usual = {"occlusion.start": 0.5, "occlusion.threshold_that_brox_has_not": 3}
    spec = changed(changed(SMALL, {"occlusion.name": "none"}), {"occlusion.name": "brox"}, usual)
    assert spec.occlusion == registry.build("occlusion", "brox", {"start": 0.5})


def test_the_same_component_keeps_its_options():
    spec = changed(changed(SMALL, {"occlusion.start": 0.25}), {"occlusion.name": "wang"}, {"occlusion.start": 0.5})
    assert spec.occlusion.start == 0.25


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"train.step": 3}, "unknown option 'train.step'; did you mean 'train.steps'"),
        ({"occlusion.name": "wagn"}, "unknown occlusion component 'wagn'; did you mean 'wang'"),
        ({"occlusion.name": "none", "occlusion.start": 0.5}, "occlusion component 'none' has no option 'start'"),
        ({"train.steps": 0}, "train.steps must be a whole number"),
        ({"train.steps": "many"}, "train.steps must be a whole number in .* got 'many'"),
        ({"train.learning_rate": float("nan")}, "train.learning_rate must be a number"),
        ({"data.augmentation.flip_vertical": "perhaps"}, "data.augmentation.flip_vertical must be one of false, true"),
        ({"data.scenes.radius_min": 20.0}, "data.scenes.radius_min must not exceed radius_max"),
        ({"data.margin": 8}, "data.margin=8 needs fit=crop"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"occlusion.revision": 7}, "occlusion.revision' cannot be set|has no option 'revision'"),
        ({"smoothness.ramp_start": 0.9, "smoothness.ramp_end": 0.1}, "ramp_start .* must not exceed ramp_end"),
    ],
)
def test_bad_values_are_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        changed(SMALL, changes)


def test_all_problems_are_named_at_once():
    config = to_config(SMALL)
    config["train"]["steps"], config["network"]["levels"], config["occlusion"]["start"] = 0, 99, 2.0
    with pytest.raises(ValueError) as error:
        from_config(config)
    assert all(word in str(error.value) for word in ("train.steps", "network.levels", "start must be"))


def test_refuses_a_component_of_another_revision():
    config = to_config(SMALL)
    config["occlusion"]["revision"] = 99
    with pytest.raises(ValueError, match="'wang' was stored with revision 99"):
        from_config(config)


def test_refuses_another_format():
    with pytest.raises(ValueError, match="format 99"):
        from_config(to_config(SMALL) | {"format": 99})


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"network.levels": 5}, "data.height 64 is too small for network.levels=5.*at least 160 rows"),
        ({"data.height": 100}, "data.height 100 is not a multiple of 8"),
        (
            {"selfsup.crop_height": 32},
            "selfsup.crop_height=32 cuts away all of data.height=64: it must be less than 32",
        ),
        (
            {"selfsup.crop_width": 8, "selfsup.crop_height": 16, "selfsup.resize": False},
            "crop_height=16: the student's",
        ),
    ],
)
def test_options_that_do_not_fit_together_are_named(changes, message):
    import re

    found = problems_of(changed(SMALL, changes))
    assert found and any(re.search(message, line) for line in found), found
    assert not problems_of(SMALL)


def test_flatten_and_nest_are_inverse():
    config = to_config(SMALL)
    assert nest(flatten(config)) == config


class TestPrefix:
    """Specs that train alike until a step have one name for it."""

    def arms(self):
        start = {"occlusion.start": 0.5}
        base = changed(SMALL, {"train.steps": 100, "selfsup.name": "none"})
        none = changed(base, {"occlusion.name": "none"})
        return none, changed(none, {"occlusion.name": "wang"}, start), changed(none, {"occlusion.name": "brox"}, start)

    def test_is_shared_until_a_component_acts(self):
        names = {prefix_id(arm, 50) for arm in self.arms()}
        assert len(names) == 1

    def test_is_not_shared_beyond(self):
        assert len({prefix_id(arm, 51) for arm in self.arms()}) == 3

    @pytest.mark.parametrize("key, value", [("seed", 1), ("train.learning_rate", 1.0), ("photometric.name", "l1"),
                                            ("train.steps", 200), ("data.digest", "x")])  # fmt: skip
    def test_follows_what_acts(self, key, value):
        none = self.arms()[0]
        assert prefix_id(changed(none, {key: value}), 50) != prefix_id(none, 50)

    def test_does_not_follow_what_is_evaluated(self):
        none = self.arms()[0]
        other = dataclasses.replace(none, evaluation=dataclasses.replace(none.evaluation, digest="f" * 16))
        assert prefix_id(other, 50) == prefix_id(none, 50)


def test_options_that_came_later_change_no_run_that_does_not_use_them():
    # the names that these specs had before there were initial weights and mixed precision
    assert default_spec().run_id == "c2ce62d04a1f" and prefix_id(default_spec(), 1000) == "0233862e7075"
    assert changed(default_spec(), {"train.loss_scale": 8}).run_id == default_spec().run_id
    later = {"initial", "amp", "loss_scale", "warmup", "clip_norm", "weight_decay"}
    assert not later & set(canonical(default_spec())["train"])


@pytest.mark.parametrize("changes", [{"train.initial": "abc"}, {"train.amp": "O2"}, {"train.amp": "O3"},
                                     {"train.amp": "O2", "train.loss_scale": 8}, {"train.warmup": 0.1},
                                     {"train.clip_norm": 1.0}, {"train.weight_decay": 1e-4},
                                     {"data.fit": "crop", "data.margin": 16},
                                     {"occlusion.penalty": 1.0}, {"occlusion.consistency": 0.1},
                                     {"selfsup.momentum": 0.9}, {"selfsup.sigma_unit": "px"},
                                     {"selfsup.occluders": 2}, {"selfsup.occluder_shape": "superpixel"}])  # fmt: skip
def test_options_that_came_later_are_part_of_the_run_that_uses_them(changes):
    spec = changed(SMALL, changes)
    assert spec.run_id != SMALL.run_id and from_config(canonical(spec)).run_id == spec.run_id
    assert prefix_id(spec, 100) != prefix_id(SMALL, 100) or "selfsup" in next(iter(changes))  # which starts later
    with_scale = changed(SMALL, changes | {"train.loss_scale": 2})
    assert (with_scale.run_id != spec.run_id) == ("train.amp" in changes)


def test_weights_that_change_later_are_part_of_the_prefix():
    mixed = changed(SMALL, {"photometric.name": "mixture", "photometric.change": 0.5, "train.steps": 100})
    other = changed(mixed, {"photometric.late_l1_weight": 1})
    assert len({prefix_id(spec, step) for spec in (mixed, other) for step in (50, 60)}) == 4
    assert prefix_id(changed(mixed, {"photometric.l1_weight": 1}), 60) != prefix_id(mixed, 60)


PRETRAINED = changed(SMALL, {"initial": {"data.scenes.noise": 0.1}, "data.digest": "d", "initial.data.digest": "e"})


def test_a_run_that_starts_from_another_is_named_by_the_content_of_both():
    assert from_config(json.loads(json.dumps(to_config(PRETRAINED)))) == PRETRAINED
    assert from_config(canonical(PRETRAINED)).run_id == PRETRAINED.run_id
    assert PRETRAINED.starts == (PRETRAINED.initial,) and SMALL.starts == ()
    later = [{"initial.train.steps": 3}, {"initial.seed": 1}, {"initial.data.digest": "f"}, {"seed": 1},
             {"initial.initial.train.steps": 3}]  # fmt: skip
    others = [SMALL, PRETRAINED, *(changed(PRETRAINED, change) for change in later)]
    assert len({spec.run_id for spec in others}) == len({prefix_id(spec, 100) for spec in others}) == len(others)
    assert changed(PRETRAINED, {"initial.data.source": "synthetic:/elsewhere"}).run_id == PRETRAINED.run_id
    assert [spec.train.steps for spec in others[-1].starts] == [3, SMALL.train.steps]


def test_what_a_run_starts_from_is_its_own_spec_but_for_what_is_changed():
    first = changed(SMALL, {"train.batch_size": 2, "occlusion.name": "brox", "initial": {"train.steps": 9}}).initial
    assert first == changed(SMALL, {"train.batch_size": 2, "occlusion.name": "brox", "train.steps": 9})
    kept = changed(PRETRAINED, {"train.batch_size": 2})
    assert kept.initial == PRETRAINED.initial and kept.train.batch_size == 2
    assert changed(SMALL, {"data.digest": "d", "initial": {}}).initial.data.digest == "", "of other data, it may be"


def test_a_seed_is_that_of_all_a_run_starts_from_and_a_place_that_of_the_same_data():
    assert [spec.seed for spec in (with_seed(PRETRAINED, 7), *with_seed(PRETRAINED, 7).starts)] == [7, 7]
    now = moved(PRETRAINED, {"data.source": "synthetic:/b"})
    assert (now.data.source, now.initial.data.source) == ("synthetic:/b", "synthetic")
    same = changed(PRETRAINED, {"initial.data.digest": "d"})
    assert moved(same, {"data.source": "synthetic:/b"}).initial.data.source == "synthetic:/b"


def test_a_place_is_for_the_data_of_its_name_only():
    spec = changed(SMALL, {"data.source": "sintel_clean:/a*2;synthetic"})
    here = {"data.source": "sintel-clean:/b*2;synthetic"}
    assert named_alike(spec, here | {"evaluation.source": "sintel_clean:/b"}) == here
    assert named_alike(spec, {"data.source": "sintel_final:/b*2;synthetic"}) == named_alike(spec, {}) == {}


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"initial.network.width": 0.5}, "initial is .* another network.*network.width is 0.5 there and 1.0 here"),
        ({"initial.network.levels": 6}, r"initial \(the run that it starts from\): .*too small for network.levels=6"),
        ({"initial": {}, "train.initial": "abc"}, r"train.initial \(abc\) and initial both name weights"),
    ],
)  # fmt: skip
def test_a_run_that_another_cannot_start_from_is_named(changes, message):
    assert any(re.match(message, problem) for problem in problems_of(changed(SMALL, changes)))
    assert problems_of(changed(SMALL, {"initial.network.level_dropout": 0.3})) == []


@pytest.fixture
def other_network(monkeypatch):
    """A second component of the network axis."""
    registry.names("network")
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))

    @registry.register("network", "other", source="none")
    class Other:
        """Nothing."""

        multiple = 16
        width: float = options.option(2.0, options.Range(1.0, 3.0), help="")
        depth: int = options.option(3, options.Range(1, 9), help="", later=True)

        def size_problems(self, height, width):
            return [f"height {height} is 100"] if height == 100 else []

        def __call__(self, normalization):
            raise NotImplementedError


def test_the_network_that_there_was_before_others_is_not_named_in_what_names_a_run(other_network):
    assert "name" not in canonical(SMALL)["network"] and "pwc" not in SMALL.directory
    assert to_config(SMALL)["network"]["name"] == "pwc" and to_config(SMALL)["network"]["revision"] == 1
    assert "augmentation" not in canonical(SMALL) and to_config(SMALL)["augmentation"]["name"] == "none"
    assert changed(SMALL, {"network.name": "pwc"}).run_id == SMALL.run_id == "67b8cdfb50a5"
    other = changed(SMALL, {"network.name": "other"})
    assert canonical(other)["network"] == {"name": "other", "revision": 1, "width": 2.0}
    assert canonical(changed(other, {"network.depth": 4}))["network"]["depth"] == 4
    assert other.directory.startswith("synthetic_census-wang-first_order-center_scale-teacher_student-other_s0__")
    assert from_config(canonical(other)) == other and changed(other, {"network.name": "pwc"}).network.width == 1.0


def test_another_revision_of_that_network_is_another_run(monkeypatch):
    known = registry.entry("network", "pwc")
    monkeypatch.setitem(registry._entries, ("network", "pwc"), dataclasses.replace(known, revision=2))
    assert canonical(SMALL)["network"]["revision"] == 2


def test_networks_are_told_apart_and_asked_what_they_can_do(other_network):
    other = changed(SMALL, {"network.name": "other"})
    with pytest.raises(ValueError, match="unknown option 'network.levels'"):
        changed(other, {"network.levels": 3})
    with pytest.raises(ValueError, match=r"network.width must be a number in \[1, 3\], got 4"):
        changed(other, {"network.width": 4})
    problem, *_ = problems_of(changed(other, {"initial.network.name": "pwc"}))
    assert problem.endswith("whose weights do not fit: network.name is pwc there and other here")
    assert problems_of(changed(other, {"data.height": 100})) == ["data.height 100 is 100"]
    assert problems_of(changed(other, {"data.height": 101})) == []


@pytest.mark.parametrize(
    "value, message", [("abc", "'initial' is a whole run"), ({"train.stps": 3}, "initial .*did you")]
)
def test_a_mistake_in_what_a_run_starts_from_is_refused(value, message):
    with pytest.raises(ValueError, match=message):
        changed(SMALL, {"initial": value})
    with pytest.raises(ValueError, match="initial .*train.steps must"):
        from_config(to_config(SMALL) | {"initial": to_config(SMALL) | {"train": {"steps": 0}}})
