"""Where code belongs, read from the source: who may import whom, who owns what; and what must stay cheap."""

import ast
import pathlib
import re
import subprocess
import sys

import pytest

from experiments.records import layout
from uflow import registry
from uflow.components import Components

ROOT = pathlib.Path(__file__).parents[1]
LAYERS = ("uflow", "experiments", "analysis", "studies")  # each may import those before it
FOLDERS = {  # each may import those before it, and the modules at the top of its package that are no commands
    "uflow": ("kernels", "ops", *Components.axes(), "augmentation", "models", "network", "losses"),
    "experiments": (
        *("records", "cli", "data", "tracking", "training", "evaluation", "visualization", "model_io", "execution"),
    ),
    "experiments.data": ("augmentation", "files", "readers", "synthetic", "mindrecord"),
    "analysis": ("statistics", "results", "paper", "report"),
    "studies": ("queue", "planning", "tracking", "workers", "launchers", "search", "cli"),
}
COMMANDS = {
    "experiments": ("convert", "evaluate", "export", "generate", "import_weights", "new", "predict", "run", "train"),
    "analysis": ("compact", "ledger", "tables"),
    "studies": ("run", "sync"),
}
OWNERS = {
    "mindspore": {"uflow/backend.py"},
    "sacred": {"experiments/run.py", "experiments/tracking/sacred_observer.py"},
    "mlflow": {"experiments/tracking/mlflow_client.py"},
    "h5py": {"experiments/data/files/flo5.py"},
    "onnx": {"experiments/model_io/onnx_graph.py"},
    "onnxruntime": {"experiments/export.py"},
    "optuna": {"studies/search/sampler.py"},
    "ray": {"studies/launchers/ray_tasks.py"},
    "submitit": {"studies/launchers/slurm_jobs.py"},
    "sqlalchemy": {"experiments/tracking/redaction.py", "studies/queue/database_queue.py", "studies/queue/exchange.py"},
}
ENTRIES = 20  # of a folder: as many as a look takes in


def module(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module(path): path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))}
QUESTIONS = [name for name, path in MODULES.items() if re.search(r"^STUDY = ", path.read_text(), re.MULTILINE)]


def imported(name):
    """Modules, of this project and of others, that a module imports anywhere in it."""
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else node.module


IMPORTS = {name: [other for other in imported(name) if other != name] for name in MODULES}


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_only_lower_layers(layer):
    higher = LAYERS[LAYERS.index(layer) + 1 :]
    assert not [(a, b) for a in IMPORTS for b in IMPORTS[a] if a.split(".")[0] == layer and b.split(".")[0] in higher]


def test_analysis_knows_of_experiments_only_specs_records_the_command_line_and_what_comes_from_outside():
    allowed = ("experiments.records", "experiments.cli", "experiments.spec", "uflow.extensions", "analysis")
    assert not [
        (a, b)
        for a in IMPORTS
        for b in IMPORTS[a]
        if a.startswith("analysis") and b.split(".")[0] in LAYERS and not b.startswith(allowed)
    ]


@pytest.mark.parametrize("package", FOLDERS)
def test_a_folder_imports_only_folders_before_it(package):
    order = {f"{package}.{name}": number for number, name in enumerate(FOLDERS[package])}
    there = {path.parent for path in (ROOT / package.replace(".", "/")).glob("*/__init__.py")}
    assert {module(path) for path in there} == set(order)

    def place(name):
        return next((number for folder, number in order.items() if f"{name}.".startswith(f"{folder}.")), None)

    found = [(a, b) for a in IMPORTS for b in IMPORTS[a] if None not in (place(a), place(b)) and place(b) > place(a)]
    assert not found


def test_the_page_has_all_folders_in_their_order():
    page = (ROOT / "docs/architecture.md").read_text()
    table = page.partition("## Folders, ")[2].partition("## Three walks")[0]
    rows = [re.findall(r"`([\w/]+)`", line.split("|")[1]) for line in table.splitlines() if line.startswith("| `")]
    for package in LAYERS:
        found = [name for row in rows if row[0].startswith(f"{package}/") for name in row]
        assert [name.removeprefix(f"{package}/") for name in found] == list(FOLDERS[package])


def test_no_module_imports_itself_over_others():
    left = {name: {other for other in others if other in MODULES} for name, others in IMPORTS.items()}
    while free := [name for name, others in left.items() if not others & left.keys()]:
        for name in free:
            del left[name]
    while users := [name for name in left if not any(name in others for others in left.values())]:
        for name in users:
            del left[name]
    assert not sorted(left)


@pytest.mark.parametrize("package", COMMANDS)
def test_nothing_imports_a_command(package):
    commands = {f"{package}.{name}" for name in COMMANDS[package]}
    assert commands <= MODULES.keys()
    assert not [(a, b) for a in IMPORTS for b in IMPORTS[a] if b in commands]


@pytest.mark.parametrize("library", OWNERS)
def test_a_large_library_is_imported_in_one_place(library):
    users = {str(MODULES[a].relative_to(ROOT)) for a in IMPORTS for b in IMPORTS[a] if b.split(".")[0] == library}
    assert users and users <= OWNERS[library]


def test_no_component_imports_another_axis():
    axes = {f"uflow.{axis}" for axis in registry.AXES}
    parents = {(a.rpartition(".")[0], b.rpartition(".")[0]) for a in IMPORTS for b in IMPORTS[a] if b in MODULES}
    assert not [(a, b) for a, b in parents if a in axes and b in axes and a != b]


def test_names_of_files_are_written_out_in_one_module():
    names = {value for name, value in vars(layout).items() if name.isupper() and "." in value}
    found = {}
    for name, path in MODULES.items():
        constants = (node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant))
        if name != layout.__name__ and (own := names.intersection(c for c in constants if isinstance(c, str))):
            found[name] = own
    assert not found


def test_no_class_name_means_two_things():
    owners = {}
    for name, path in MODULES.items():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                owners.setdefault(node.name, []).append(name)
    assert not {name: where for name, where in owners.items() if len(where) > 1}


def test_every_folder_can_be_taken_in_at_a_look():
    """Axes, components, data sets and questions apart, of which there may be any number."""
    axes = {f"uflow/{axis}" for axis in registry.AXES}
    any_number = axes | {"experiments/data/readers", "tests/experiments/data/readers"}
    apart = {MODULES[name] for name in QUESTIONS} | {ROOT / axis for axis in axes}
    crowded = {}
    for root in (*LAYERS, "tests", "benchmarks", "docs"):
        for folder in (ROOT / root, *(path for path in (ROOT / root).rglob("*") if path.is_dir())):
            if "__pycache__" in folder.parts or str(folder.relative_to(ROOT)) in any_number:
                continue
            entries = [
                path
                for path in folder.iterdir()
                if path not in apart and path.name not in ("__init__.py", "__pycache__")
            ]
            if len(entries) > ENTRIES:
                crowded[str(folder.relative_to(ROOT))] = len(entries)
    assert not crowded


def test_no_module_has_a_name_that_says_nothing():
    nothing = ("utils", "util", "common", "helpers", "helper", "base", "misc")
    assert not [name for name in MODULES if name.rpartition(".")[2] in nothing]


@pytest.mark.parametrize(
    "page", ["README.md", *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").rglob("*.md")))]
)
def test_every_place_in_the_code_that_a_page_names_is_there(page):
    text = (ROOT / page).read_text()
    places = re.findall(rf"`((?:{'|'.join(LAYERS)}|tests|benchmarks)/[a-z][\w/]*(?:\.\w+)?)`", text)
    made = ("uflow/photometric/mine.py",)
    assert not [place for place in places if place not in made and not (ROOT / place).exists()]


def test_planning_and_listing_never_load_the_large_libraries():
    code = (
        "import sys; from studies import run; run.main(['--list']);"
        " run.main(['occlusion_ablation', '--preset', 'smoke', '--plan']);"
        " print('LOADED', [m for m in ('mindspore', 'mlflow', 'optuna', 'sacred', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=600)
    assert "LOADED []" in done.stdout, done.stdout + done.stderr
