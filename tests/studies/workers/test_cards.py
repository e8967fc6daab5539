"""`--device`: what it stands for, and what a run is shown of it."""

import pytest

from studies.workers.cards import Card, _present, parse


@pytest.mark.parametrize(
    "text, cards",
    [
        ("cpu", [Card("CPU")]),
        ("CPU", [Card("CPU")]),
        ("gpu:0,1", [Card("GPU", 0), Card("GPU", 1)]),
        ("ascend:0-7", [Card("Ascend", n) for n in range(8)]),
        ("ascend:0-1,4, 6-7", [Card("Ascend", n) for n in (0, 1, 4, 6, 7)]),
        ("gpu:3", [Card("GPU", 3)]),
    ],
)
def test_cards_are_named(text, cards):
    assert list(parse(text)) == cards


@pytest.mark.parametrize(
    "text, message",
    [
        ("tpu", "must be auto, cpu, gpu, ascend"),
        ("", "must be auto, cpu, gpu, ascend"),
        ("gpu:", "'' is not the number of a card"),
        ("gpu:x", "'x' is not the number"),
        ("gpu:-1", "'-1' is not the number"),
        ("gpu:3-1", "must rise"),
        ("gpu:0-99999", "is not the number"),
        ("gpu:0-5000", "below 1024"),
        ("gpu:0,0", "names a card twice"),
        ("cpu:0", "only gpu and ascend have cards"),
        ("auto:1", "only gpu and ascend have cards"),
    ],
)
def test_wrong_ones_are_refused(text, message):
    with pytest.raises(ValueError, match="--device") as error:
        parse(text)
    assert message in str(error.value)


def test_a_run_is_shown_its_card_only():
    assert Card("GPU", 2).environment == {"CUDA_VISIBLE_DEVICES": "2"}
    assert Card("Ascend", 7).environment == {"ASCEND_RT_VISIBLE_DEVICES": "7"}
    assert Card("CPU").environment == {} and Card("GPU").environment == {}


def test_all_cards_of_the_machine_are_found(tmp_path):
    for name in ("nvidia0", "nvidia1", "nvidia10", "nvidiactl", "nvidia-uvm", "davinci0", "davinci_manager"):
        (tmp_path / name).touch()
    assert _present("GPU", tmp_path) == [0, 1, 10]
    assert _present("Ascend", tmp_path) == [0]
    assert _present("CPU", tmp_path) == []


def test_cards_that_a_scheduler_has_given_are_kept_to(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")
    assert parse("gpu") == (Card("GPU", 3), Card("GPU", 1))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-5ebe9f43")
    assert parse("gpu") == (Card("GPU"),)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert parse("gpu:0") == (Card("GPU", 0),)  # what is named goes first


def test_workers_share_the_cards_in_turn(tmp_path):
    from studies.launchers.supervisor import assigned
    from studies.workers.subprocess_run import Execution
    from studies.workers.worker import WorkerSettings

    settings = WorkerSettings(execution=Execution(out=tmp_path), study="s", queue="s")
    cards = parse("gpu:0,2")
    assert [s.execution.card.number for s in assigned(settings, cards, 5)] == [0, 2, 0, 2, 0]


def test_one_worker_for_each_core_keeps_to_its_own(tmp_path, monkeypatch):
    from studies.launchers import supervisor
    from studies.workers.subprocess_run import Execution
    from studies.workers.worker import WorkerSettings

    monkeypatch.setattr(supervisor.os, "sched_getaffinity", lambda pid: {5, 2})
    settings = WorkerSettings(execution=Execution(out=tmp_path), study="s", queue="s")

    def cores(card, count):
        return [s.execution.core for s in supervisor.assigned(settings, (Card(card),), count)]

    assert cores("CPU", 2) == [2, 5]
    assert cores("CPU", 1) == [None] and cores("CPU", 3) == [None] * 3  # the system knows better where there is room
    assert cores("GPU", 2) == [None, None]
    (first, _) = supervisor.assigned(settings, (Card("CPU"),), 2)
    assert first.scheduled(1).execution.core is None  # another machine has other cores
    monkeypatch.setattr(supervisor.os, "sched_getaffinity", lambda pid: {3})
    assert cores("CPU", 1) == [None]
