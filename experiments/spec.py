"""What is trained: a frozen value, its plain-data form, and the name that follows from it; needs no MindSpore."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from experiments.data.source_text import source_parts, unplaced
from experiments.data.synthetic.options import UNUSED
from experiments.spec_options import DataOptions, EvaluationOptions, TrainOptions
from uflow import options, registry
from uflow.components import SCHEDULED, Components
from uflow.interfaces import Augmentation, Network, Normalization, Occlusion, Photometric, SelfSupervision, Smoothness
from uflow.models import compatibility
from uflow.registry import AXES

FORMAT = 1  # raise when the trainer would turn the same spec into another result

INITIAL = "initial"  # in plain data and before a dotted key: the run that a run starts from
SECTIONS = {"train": TrainOptions, "data": DataOptions, "evaluation": EvaluationOptions}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExperimentSpec:
    """One choice per axis, how and on what the network is trained and evaluated, and the seed.

    Equal specs give equal results. The defaults are the paper's settings for FlyingChairs.

    Attributes:
        initial: the run that this one starts from, which is trained before; `None` starts from weights that are drawn
            from the seed, or those that `train.initial` is the digest of.
        terms: components of axes that extensions have brought, but for `none`, by the name of the axis, sorted.
    """

    photometric: Photometric
    occlusion: Occlusion
    smoothness: Smoothness
    normalization: Normalization
    selfsup: SelfSupervision
    network: Network
    augmentation: Augmentation
    train: TrainOptions = TrainOptions()
    data: DataOptions = DataOptions()
    evaluation: EvaluationOptions = EvaluationOptions()
    seed: int = 0
    initial: ExperimentSpec | None = None
    terms: tuple[tuple[str, Smoothness], ...] = ()

    def __getattr__(self, name: str) -> Any:
        """The component of an axis that is no field."""
        if name not in AXES:
            raise AttributeError(f"a spec has no {name!r}")
        return dict(self.terms).get(name) or registry.build(name, AXES[name].default)

    @property
    def starts(self) -> tuple[ExperimentSpec, ...]:
        """The runs that are trained before, one from the other; the last one is `initial`."""
        return (*self.initial.starts, self.initial) if self.initial else ()

    @property
    def run_id(self) -> str:
        """12 hex digits of the content: the directory, the tag and the resume key of a run."""
        return digest(canonical(self))

    @property
    def directory(self) -> str:
        """The name of the run's directory: readable, then the run id."""
        order = sorted(AXES, key=lambda axis: axis if AXES[axis].term else "")  # not that in which files are loaded
        named = {axis: registry.entry_of(getattr(self, axis)).name for axis in order}
        names = [name for axis, name in named.items() if not (AXES[axis].later and name == AXES[axis].default)]
        data = "+".join(part.name for part in source_parts(self.data.source))
        return f"{data}_{'-'.join(names)}_s{self.seed}__{self.run_id}"


def default_spec() -> ExperimentSpec:
    """The paper's settings for FlyingChairs (Jonschkowski et al., ECCV 2020, section 5)."""
    return from_config({})


def digest(plain: Any) -> str:
    """12 hex digits of plain data, whatever the order of its keys."""
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def to_config(spec: ExperimentSpec) -> dict[str, Any]:
    """Plain data with every default written out, but for axes of extensions; the inverse of `from_config`."""
    config: dict[str, Any] = {"format": FORMAT, "seed": spec.seed}
    for axis in AXES:
        component = getattr(spec, axis)
        known = registry.entry_of(component)
        if AXES[axis].term and known.name == AXES[axis].default:
            continue
        config[axis] = {"name": known.name, "revision": known.revision, **dataclasses.asdict(component)}
        if known.extension:
            config[axis]["extension"] = known.extension.digest
    for name in SECTIONS:
        config[name] = dataclasses.asdict(getattr(spec, name))
    return config | ({INITIAL: to_config(spec.initial)} if spec.initial else {})


def canonical(spec: ExperimentSpec) -> dict[str, Any]:
    """The part of the plain data that decides the result: no paths, and no options of what is not used.

    These are the options that no scenes follow, and those and the axes that came later than the first runs, so that the
    names of runs that do not use them stay.
    """
    config = to_config(spec)
    for part in (*AXES, *SECTIONS):
        for name in options.defaulted_later(getattr(spec, part)):
            del config[part][name]
    for axis, known in AXES.items():
        if axis in config and known.later and (config[axis]["name"], config[axis]["revision"]) == (known.default, 1):
            del config[axis]["name"], config[axis]["revision"]
            if not config[axis]:
                del config[axis]
    if not config["train"]["initial"]:
        del config["train"]["initial"]
    if config["train"]["amp"] == "O0":
        del config["train"]["amp"], config["train"]["loss_scale"]
    for side in ("height", "width"):
        if not config["evaluation"][side]:
            del config["evaluation"][side]
    scenes: set[str] = set()
    for name in ("data", "evaluation"):
        scenes |= UNUSED.keys() & {part.name for part in source_parts(config[name]["source"])}
        config[name]["source"] = unplaced(config[name]["source"])
    if scenes:
        for unused in frozenset.intersection(*(UNUSED[source] for source in scenes)):
            del config["data"]["scenes"][unused]
    else:
        for unused in ("scenes", "scene_height", "scene_width"):
            config["data"].pop(unused, None)
    return config | ({INITIAL: canonical(spec.initial)} if spec.initial else {})


def differing(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The keys in which two results of `canonical` differ, with both values; `the spec format` if none does."""
    old, new = flatten(then), flatten(now)
    keys = sorted(key for key in set(old) | set(new) if old.get(key) != new.get(key))
    return ", ".join(f"{key} ({old.get(key)!r} then, {new.get(key)!r} now)" for key in keys) or "the spec format"


def prefix_id(spec: ExperimentSpec, step: int) -> str:
    """Names the training of a spec up to a step: specs with equal names are identical until then, bit for bit."""
    config = canonical(spec)
    active = components(spec).active_at(step - 1, spec.train.steps)
    for axis in Components.axes():
        if registry.entry_of(getattr(active, axis)).name == "none":  # it is, or it has not started yet
            config[axis] = {"name": "none"}
    evaluation = config.pop("evaluation")  # of which the validation on the way depends on these
    if used := {key: evaluation[key] for key in ("height", "width", "regions") if key in evaluation}:
        config["evaluation"] = used
    return digest({"until": step, **config})


def components(spec: ExperimentSpec) -> Components:
    """The choices that the loss is made of, by themselves."""
    chosen = {axis: getattr(spec, axis) for axis in Components.axes()}
    return Components(**chosen, more=tuple(component for _, component in spec.terms))


def from_config(config: Mapping[str, Any]) -> ExperimentSpec:
    """The spec that plain data describes; missing options take their defaults.

    Raises:
        ValueError: for an unknown key or an invalid value, naming all of them; if a component was stored under another
            revision or came from other code, or the whole was stored under another format, than today's.
    """
    if config.get("format", FORMAT) != FORMAT:
        raise ValueError(f"the spec has format {config['format']}, this version reads and writes {FORMAT}")
    problems, chosen = [], {}
    for key in config:
        if isinstance(part := config[key], Mapping) and key not in AXES and "extension" in part:
            problems.append(
                f"axis {key!r} is not of this project but of a file; give it, and that of the component"
                f" {part.get('name')!r}, with --extensions"
            )
        elif key not in (*AXES, *SECTIONS, INITIAL, "seed", "format"):
            problems.append(unknown_key(key, (*AXES, *SECTIONS, INITIAL, "seed")))
    for axis in AXES:
        given = dict(config.get(axis, {}))
        name, revision = given.pop("name", AXES[axis].default), given.pop("revision", None)
        extension = given.pop("extension", None)
        try:
            if extension is not None:
                _check_extension(axis, name, extension)
            known = registry.entry(axis, name)
            if revision is not None and revision != known.revision:
                raise ValueError(
                    f"{axis} component {name!r} was stored with revision {revision}, the code has"
                    f" {known.revision}: the run cannot be continued, only repeated"
                )
            chosen[axis] = registry.build(axis, name, given)
        except ValueError as error:
            problems.append(str(error))
    for name, cls in SECTIONS.items():
        try:
            chosen[name] = _build_section(name, cls, config.get(name, {}))
        except ValueError as error:
            problems.append(str(error))
    seed = config.get("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**31:
        problems.append(f"seed must be a whole number in [0, {2**31 - 1}], got {seed!r}")
    if INITIAL in config:
        try:
            chosen[INITIAL] = from_config(config[INITIAL])
        except ValueError as error:
            problems += _of_initial(str(error).splitlines())
    if problems:
        raise ValueError("\n".join(problems))
    brought = {axis: chosen.pop(axis) for axis, known in AXES.items() if known.term}
    terms = tuple((axis, c) for axis, c in sorted(brought.items()) if registry.entry_of(c).name != AXES[axis].default)
    return ExperimentSpec(**chosen, seed=seed, terms=terms)


def _check_extension(axis: str, name: str, digest: Any) -> None:
    """Raises `ValueError` unless a component that came from a file outside of this project does so now, unchanged."""
    if name not in registry.names(axis):
        raise ValueError(
            f"{axis} component {name!r} is not of this project but of a file with digest {digest}: give that with"
            " --extensions"
        )
    there = registry.entry(axis, name).extension
    if there is None or there.digest != digest:
        now = f"{there.file} has {there.digest}" if there else "this version has one of its own"
        raise ValueError(
            f"{axis} component {name!r} was stored as that of a file with digest {digest}, {now}: its code has changed,"
            " so the run cannot be continued, only repeated"
        )


def _of_initial(problems: Iterable[str]) -> list[str]:
    return [f"{INITIAL} (the run that it starts from): {problem}" for problem in problems]


def with_seed(spec: ExperimentSpec, seed: int) -> ExperimentSpec:
    """The spec with another seed, which is that of all it starts from too."""
    return dataclasses.replace(spec, seed=seed, initial=spec.initial and with_seed(spec.initial, seed))


def moved(spec: ExperimentSpec, sources: Mapping[str, str]) -> ExperimentSpec:
    """The spec with its data at other places, by dotted key; so of what it starts from, where that is the same data."""
    made = changed(spec, sources)
    if spec.initial is None:
        return made
    same = {key: s for key, s in sources.items() if _digest_of(spec.initial, key) == _digest_of(spec, key)}
    return dataclasses.replace(made, initial=moved(spec.initial, same))


def named_alike(spec: ExperimentSpec, sources: Mapping[str, str]) -> dict[str, str]:
    """Those of some places, by dotted key, that have the names of the data of a spec; other runs may have others."""
    own = {key: getattr(spec, key.split(".")[0]).source for key in sources}
    return {key: source for key, source in sources.items() if unplaced(source) == unplaced(own[key])}


def _digest_of(spec: ExperimentSpec, source: str) -> str:
    return getattr(spec, source.split(".")[0]).digest


def _build_section(name: str, cls: type, given: Mapping[str, Any]) -> Any:
    fields = {f.name: f for f in dataclasses.fields(cls)}
    values = {}
    for key, value in given.items():
        if key not in fields:
            raise ValueError(unknown_key(f"{name}.{key}", [f"{name}.{f}" for f in fields]))
        nested = fields[key].default_factory
        if nested is not dataclasses.MISSING:
            values[key] = _build_section(f"{name}.{key}", nested, value)
        else:
            values[key] = options.coerce(value, fields[key])
    return options.made(cls, values, name)


def unknown_key(key: str, known: Iterable[str]) -> str:
    """The sentence for a key that does not exist."""
    known = list(known)
    hint = registry.did_you_mean(key, known)
    return f"unknown option {key!r}{hint}" + ("" if hint else f" (known: {', '.join(known)})")


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested plain data as dotted keys: {"train": {"steps": 3}} is {"train.steps": 3}."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys as nested plain data; the inverse of `flatten`."""
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        *path, last = key.split(".")
        place = nested
        for part in path:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise ValueError(f"{key!r} and {'.'.join(path)!r} cannot both be set")
        place[last] = value
    return nested


def changed(spec: ExperimentSpec, changes: Mapping[str, Any], usual: Mapping[str, Any] | None = None) -> ExperimentSpec:
    """The spec with other values for some dotted keys, such as `occlusion.name` or `train.steps`.

    Another component on an axis starts from its own defaults; what is changed is set after that. `initial` is what the
    run that this one starts from changes in the spec that comes of all other changes, by dotted key; a key such as
    `initial.train.steps` changes one option of that run.

    Args:
        spec: where to start.
        changes: values by dotted key; text is read in the type of the option.
        usual: values by dotted key for options of components, used where a component is exchanged for one that has
            the option, and passed over where it has not.

    Raises:
        ValueError: for unknown keys ("did you mean") and invalid values, naming all of them.
    """
    ahead = {key.removeprefix(f"{INITIAL}."): v for key, v in changes.items() if key.startswith(f"{INITIAL}.")}
    if ahead or INITIAL in changes:
        if not isinstance(changes.get(INITIAL, {}), Mapping):
            raise ValueError(f"{INITIAL!r} is a whole run, of which options can be set, such as {INITIAL}.train.steps")
        rest = {key: v for key, v in changes.items() if key.split(".")[0] != INITIAL}
        made = changed(spec, rest, usual)
        first = made.initial
        if first is None or INITIAL in changes:  # not the same data, it may be, whose digests it would have
            first = changed(dataclasses.replace(made, initial=None), {"data.digest": "", "evaluation.digest": ""})
        try:
            first = changed(first, dict(changes.get(INITIAL, {})) | ahead, usual)
        except ValueError as error:
            raise ValueError("\n".join(_of_initial(str(error).splitlines()))) from None
        return dataclasses.replace(made, initial=first)
    config = {axis: {"name": known.default} for axis, known in AXES.items()} | to_config(spec)
    first = config.pop(INITIAL, None)
    known = set(flatten(config)) | {"seed"}
    for axis in AXES:
        name = changes.get(f"{axis}.name", config[axis]["name"])
        if name == config[axis]["name"]:
            continue
        fields = {f.name for f in dataclasses.fields(registry.entry(axis, name).cls)}
        config[axis] = {"name": name} | {
            key.split(".", 1)[1]: value
            for key, value in (usual or {}).items()
            if key.split(".", 1)[0] == axis and key.split(".", 1)[1] in fields
        }
    flat = flatten(config)
    for axis in AXES:
        known |= {f"{axis}.{f.name}" for f in dataclasses.fields(registry.entry(axis, config[axis]["name"]).cls)}
    problems = []
    for key, value in changes.items():
        valid = key in known and not key.endswith((".revision", ".extension")) and key != "format"
        axis = key.split(".")[0]
        if valid and axis in AXES and not key.endswith(".name"):
            fields = {f.name for f in dataclasses.fields(registry.entry(axis, config[axis]["name"]).cls)}
            valid = key.split(".", 1)[1] in fields
        if not valid:
            problems.append(unknown_key(key, sorted(known - {"format"})) if key not in known else _foreign(key, config))
        elif key == "seed" and isinstance(value, str):
            flat[key] = int(value) if value.isdigit() else value
        else:
            flat[key] = value
    if problems:
        raise ValueError("\n".join(problems))
    return from_config(nest(flat) | ({INITIAL: first} if first else {}))


def _foreign(key: str, config: Mapping[str, Any]) -> str:
    axis, name = key.split(".", 1)
    chosen = config.get(axis, {}).get("name") if axis in AXES else None
    if chosen is None:
        return f"option {key!r} cannot be set"
    fields = [f.name for f in dataclasses.fields(registry.entry(axis, chosen).cls)]
    return f"{axis} component {chosen!r} has no option {name!r} (options: {', '.join(fields) or 'none'})"


def problems_of(spec: ExperimentSpec) -> list[str]:
    """Why a spec cannot be run: options that are valid by themselves and do not fit together; empty if they do."""
    found = compatibility.problems(spec.network, components(spec), spec.data.height, spec.data.width)
    given = spec.evaluation.height, spec.evaluation.width
    if spec.evaluation.size is None and any(given):
        found.append(f"evaluation.height={given[0]} and evaluation.width={given[1]}: give both or neither")
    elif spec.evaluation.size and (problem := compatibility.working_size_problem(spec.network, *given)):
        found.append(f"evaluation.height={given[0]} evaluation.width={given[1]}: {problem}")
    if spec.data.margin and spec.train.supervised:
        found.append(f"data.margin={spec.data.margin} acts in photometric losses, which train.supervised has not")
    if spec.initial is None:
        return found
    if spec.train.initial:
        found.append(f"train.initial ({spec.train.initial}) and {INITIAL} both name weights to start from: give one")
    if different := other_network(spec.initial, spec):
        found.append(f"{INITIAL} is a run of another network, whose weights do not fit: {different}")
    return found + _of_initial(problems_of(spec.initial))


def other_network(there: ExperimentSpec, here: ExperimentSpec) -> str:
    """The options in which the networks of two specs have other parameters, or such that mean something else; or ''."""
    one, other = ({"name": registry.entry_of(s.network).name} | dataclasses.asdict(s.network) for s in (there, here))
    keys = sorted(other) if one["name"] == other["name"] else ["name"]
    different = [key for key in keys if key not in SCHEDULED and one[key] != other[key]]
    return ", ".join(f"network.{key} is {one[key]} there and {other[key]} here" for key in different)


def wanted_truth(spec: ExperimentSpec) -> frozenset[str]:
    """The ground truth that training needs, out of `flow` and `occlusion`; nothing for unsupervised training."""
    if spec.train.supervised:
        return frozenset({"flow"})
    known = "true_occlusion" in registry.entry_of(spec.occlusion).needs
    return frozenset({"occlusion"}) if known else frozenset()
