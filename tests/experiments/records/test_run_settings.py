"""How a run is executed reaches the process that trains unchanged, whatever it is."""

import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments import run
from experiments.cli import flags
from experiments.records.run_settings import RunSettings
from studies.workers.cards import Card
from studies.workers.subprocess_run import Execution, Limits
from studies.workers.worker import WorkerSettings, command_line, environment, read

PLACES = st.text("abc/ '\"\\%é", min_size=1).map(pathlib.Path)
TIMES = st.floats(0, 1e9)
SETTINGS = st.builds(
    RunSettings,
    out=PLACES,
    device=st.sampled_from(flags.TARGETS),
    device_id=st.integers(0, 9),
    shared_steps=st.lists(st.integers(1, 10**9)).map(tuple),
    checkpoint_seconds=TIMES,
    sources=st.dictionaries(st.sampled_from(["data.source", "evaluation.source"]), st.text()),
    directory=st.none() | PLACES,
    initial=st.none() | PLACES,
    portable=st.booleans(),
    exceptions=st.booleans(),
    wait=st.booleans(),
)


@given(SETTINGS)
def test_settings_are_the_same_after_json(settings):
    assert RunSettings.from_json(settings.to_json()) == settings


def test_a_run_is_told_its_card_and_what_it_shares_and_nothing_of_how_it_is_watched(tmp_path):
    execution = Execution(out=tmp_path, card=Card("GPU", 3), threads=8, limits=Limits(seconds=5), program="other")
    told = execution.of_run([20, 30])
    assert told == RunSettings(out=tmp_path, device="GPU", shared_steps=(20, 30)) and type(told) is RunSettings


def test_a_worker_is_told_everything_and_its_addresses_by_the_environment_alone(tmp_path):
    execution = Execution(
        out=tmp_path, card=Card("Ascend", 2), threads=3, checkpoint_seconds=0.1, limits=Limits(gigabytes=1.5),
        program="p", sources={"data.source": "kitti2015:/a b"},
    )  # fmt: skip
    settings = WorkerSettings(
        execution=execution, study="s", queue="s/smoke", heartbeat=7, linger=0.5, storage="postgresql://u:pw@h/d",
        tracking="http://u:pw@h",
    )  # fmt: skip
    assert read(command_line(settings), environment(settings)) == settings
    assert "pw" not in " ".join(command_line(settings))


@pytest.mark.parametrize("text", ["", "{", "[]", "5", "{}", '{"out": 5}', '{"out": "o", "outt": 1}'])
def test_what_are_no_settings_is_refused_in_one_sentence(tmp_path, monkeypatch, capsys, text):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError) as refused:
        RunSettings.from_json(text)
    assert len(str(refused.value).splitlines()) == 1
    if text:
        assert run.main(["--settings", text]) == 2 and not list(tmp_path.iterdir())
        assert capsys.readouterr().err.startswith("experiments.run: --settings ")


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_a_time_between_checkpoints_is_none_that_can_be_waited_for(tmp_path, seconds):
    with pytest.raises(ValueError, match="--checkpoint-seconds must be 0 or more"):
        RunSettings(out=tmp_path, checkpoint_seconds=seconds)
