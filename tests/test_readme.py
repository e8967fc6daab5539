"""The README says what the code says."""

import pathlib
import re

from experiments import run as one_run
from studies import catalog
from studies import run as study_run
from studies.baselines import PRESETS
from uflow import table

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_table_of_components_is_up_to_date():
    assert table.updated(README) == README, "run: python -m uflow.table README.md"


def test_every_option_that_it_names_exists():
    known = study_run.parser().format_help() + one_run.parser().format_help() + "--seeds --progress-bar -e -m"
    for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", README):
        assert option in known or option in ("--dist", "--backend-store-uri"), option


def test_every_module_that_it_runs_exists():
    for module in re.findall(r"python -m ([a-z_.]+)", README):
        path = ROOT / module.replace(".", "/")
        assert module == "pytest" or path.with_suffix(".py").exists() or path.is_dir(), module


def test_every_study_and_preset_that_it_names_exists():
    for name in re.findall(r"studies\.run ([a-z_]+)", README):
        assert name in catalog.names()
    for words in re.findall(r"--preset ([a-z|\\]+)", README):
        assert set(words.replace("\\", "").split("|")) <= set(PRESETS)
