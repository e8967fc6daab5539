"""Who may import whom, read from the source; and what must stay cheap."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
LAYERS = ("uflow", "experiments", "analysis", "studies")  # each may import those before it
OWNERS = {
    "mindspore": {"uflow/backend.py"},
    "sacred": {"experiments/run.py", "experiments/sacred_files.py"},
    "mlflow": {"experiments/mlflow_store.py"},
    "h5py": {"experiments/data/flo5.py"},
    "onnx": {"experiments/onnx_graph.py"},
    "onnxruntime": {"experiments/export.py"},
    "optuna": {"studies/journal.py", "studies/queue.py", "studies/sweep.py"},
    "ray": {"studies/ray_launcher.py"},
    "submitit": {"studies/slurm_launcher.py"},
    "sqlalchemy": {"experiments/addresses.py", "studies/database_queue.py", "studies/exchange.py"},
}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def sources():
    return [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))]


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_only_lower_layers(layer):
    higher = LAYERS[LAYERS.index(layer) + 1 :]
    for path in (ROOT / layer).rglob("*.py"):
        for name in imported(path):
            assert name.split(".")[0] not in higher, f"{path.relative_to(ROOT)} imports {name}"


def test_analysis_knows_of_experiments_only_their_records_and_the_command_line():
    for path in (ROOT / "analysis").rglob("*.py"):
        for name in imported(path):
            parts = name.split(".")
            assert parts[0] != "uflow", f"{path.relative_to(ROOT)} imports {name}"
            allowed = parts[1:] in (["records"], ["flags"], ["terminal"])
            assert parts[0] != "experiments" or allowed, f"{path.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize("library", OWNERS)
def test_a_large_library_is_imported_in_one_place(library):
    users = {
        str(path.relative_to(ROOT)) for path in sources() if any(n.split(".")[0] == library for n in imported(path))
    }
    assert users and users <= OWNERS[library]


def test_no_component_imports_another_axis():
    axes = ("photometric", "occlusion", "smoothness", "normalization", "selfsup")
    for axis in axes:
        for path in (ROOT / "uflow" / axis).glob("*.py"):
            for name in imported(path):
                parts = name.split(".")
                assert parts[:1] != ["uflow"] or len(parts) < 2 or parts[1] not in axes or parts[1] == axis


def test_no_module_has_a_name_that_says_nothing():
    assert not [
        path for path in sources() if path.stem in ("utils", "util", "common", "helpers", "helper", "base", "misc")
    ]


def test_planning_and_listing_never_load_the_large_libraries():
    code = (
        "import sys; from studies import run; run.main(['--list']);"
        " run.main(['occlusion_ablation', '--preset', 'smoke', '--plan']);"
        " print('LOADED', [m for m in ('mindspore', 'mlflow', 'optuna', 'sacred', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert "LOADED []" in done.stdout, done.stdout + done.stderr
