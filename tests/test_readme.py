"""The README and the other documents say what the code says."""

import importlib
import pathlib
import re

import pytest

from experiments.data.catalog import names as data_sets
from studies.planning import catalog
from studies.presets import PRESETS
from uflow import table

ROOT = pathlib.Path(__file__).parents[1]
DOCUMENTS = {path.name: path.read_text() for path in sorted(ROOT.glob("README*.md"))} | {
    path.relative_to(ROOT / "docs").as_posix(): path.read_text() for path in sorted((ROOT / "docs").rglob("*.md"))
}
README = DOCUMENTS["README.md"]
COMMANDS = ("run", "train", "evaluate", "predict", "export", "convert", "generate", "import_weights", "new")
MODULES = (
    "studies.cli.arguments",
    "studies.sync",
    "analysis.compact",
    "analysis.ledger",
    "benchmarks.step",
    "benchmarks.overhead",
    *(f"experiments.{word}" for word in COMMANDS),
)
# of other programs: pip, pytest, ruff, PostgreSQL, MLflow, msrun, Ray and Slurm
FOREIGN = {
    "--check",
    "--dist",
    "--backend-store-uri",
    "--workers",
    "--worker_num",
    "--local_worker_num",
    "--join",
    "--log_dir",
}
FOREIGN |= {"--owner", "--host", "--artifacts-destination"}
FOREIGN |= {"--head", "--port", "--num-cpus", "--include-dashboard", "--disable-usage-stats", "--test-only"}
FOREIGN |= {"--axis"}  # of uflow.check, which has no parser
FOREIGN |= {"--strict", "--multirun"}  # MkDocs, Hydra
PORT = "train_on eval_on checkpoint_dir pre_trained pre_ckpt_path ckpt_file file_format data_dir output_dir num_shards"
FOREIGN |= {f"--{word}" for word in [*PORT.split(), "batch_size"]}  # words that are read as others
SBATCH = "cpus-per-task export ntasks job-name nodes open-mode output partition signal time"
FOREIGN |= {f"--{word}" for word in SBATCH.split()}


PORT_MODULES = {"train", "eval", "src.utils.convert_sintel_to_mindrecords"}  # of the port, beside what they are here


def options_of(module):
    parser = importlib.import_module("studies.cli.arguments" if module == "studies.run" else module).parser
    return set(re.findall(r"--[a-z][\w-]*", parser().format_help()))


def test_the_table_of_components_is_up_to_date():
    assert table.updated(README) == README, "run: python -m uflow.table README.md"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_option_of_a_command_exists(name):
    text = re.sub(r"\\\n\s*", " ", DOCUMENTS[name])
    for module, words in re.findall(r"python -m ((?:studies|experiments|benchmarks)\.[a-z_.]+)([^`\n]*)", text):
        for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", words):
            spelled = "--" + option[2:].replace("_", "-")
            assert spelled in options_of(module), f"{module} has no {option}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_option_that_is_named_exists(name):
    known = FOREIGN.union(*map(options_of, MODULES))
    for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", DOCUMENTS[name]):
        assert option in known, option


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_module_that_is_run_exists(name):
    for module in re.findall(r"python -m ([a-z_.]+)", DOCUMENTS[name]):
        path = ROOT / module.replace(".", "/")
        assert module in {"pytest", "venv", *PORT_MODULES} or path.with_suffix(".py").exists() or path.is_dir(), module


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_study_and_preset_that_is_named_exists(name):
    for study in re.findall(r"studies\.run ([a-z_]+)", DOCUMENTS[name]):
        assert study in (*catalog.names(), *catalog.campaigns())
    for words in re.findall(r"--preset ([a-z|\\]+)", DOCUMENTS[name]):
        known = {*PRESETS, "chairs", "sintel", "kitti", "photos"}
        assert set(words.replace("\\", "").split("|")) <= known


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_linked_file_is_there(name):
    folder = ROOT if name.startswith("README") else (ROOT / "docs" / name).parent
    for target in re.findall(r"\]\(([^)#:]+)\)", DOCUMENTS[name]):
        assert (folder / target).exists(), target


def test_all_studies_are_listed():
    table = README.partition("## Studies")[2].partition("\n\n| option |")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    known = sorted((*catalog.names(), *catalog.campaigns()))
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == known, "rows under Studies in README.md"


def test_all_data_sets_are_listed():
    named = re.search(r"^Data sets are named .*?\n\n", README, re.MULTILINE | re.DOTALL)[0]
    table = DOCUMENTS["training.md"].partition("| name | layout |")[2].partition("\n\n")[0]
    rows = " ".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `"))
    assert set(data_sets()) == set(re.findall(r"`(\w+)`", rows)), "rows of layouts in docs/training.md"
    assert not [name for name in data_sets() if f"`{name}`" not in named], "README.md, after: Data sets are named"


def test_the_readme_in_chinese_has_the_same_two_lines_and_rows():
    chinese, port = DOCUMENTS["README_CN.md"], DOCUMENTS["moving_from_the_port.md"]
    lines = re.findall(r"^python3 -m venv .*$", README, re.M)
    assert len(lines) == 2 and lines == re.findall(r"^python3 -m venv .*$", chinese, re.M)
    for row in [line for line in port.splitlines() if line.startswith("| `")]:
        cells = [cell.strip() for cell in row.strip("|").split(" | ")]
        assert f"| {cells[0]} | {cells[-1].rstrip(' |')} |" in chinese
