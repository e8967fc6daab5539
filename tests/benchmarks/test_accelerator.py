"""The script for a card, on the CPU; what it says of a part that fails, hangs or is killed."""

import inspect
import json

import numpy as np
import psutil
import pytest

from benchmarks import accelerator, accelerator_parts, component_values
from uflow.components import Components

LONG = "100000"  # s: what a part may take must not depend on the machine


def test_the_parts_share_all_of_the_time():
    assert list(accelerator.SHARES) == list(accelerator_parts.PARTS)
    assert sum(accelerator.SHARES.values()) == 100 and accelerator.SECONDS == 300


@pytest.mark.storm  # three minutes of the processor: eight processes that each compile
def test_all_parts_pass_on_the_cpu(tmp_path, capsys):
    out = tmp_path / "card.json"
    words = ["--device", "cpu", "--sizes", "tiny", "--seconds", LONG, "--out", str(out)]
    code = accelerator.main(words)
    found = json.loads(out.read_text())
    parts = found["parts"]
    assert {name: part["message"] for name, part in parts.items()} == dict.fromkeys(accelerator_parts.PARTS, "")
    assert code == 0 and found["passed"] and found["device"] == "CPU"
    assert parts["versions"]["found"]["packages"]["mindspore"]
    errors = parts["parity"]["found"]["error_by_largest_value"]
    assert set(errors) == set(accelerator_parts.TINY_NAMES)
    assert all(0 <= error < 1e-4 for each in errors.values() for error in each.values())
    assert parts["step"]["found"]["step"]["ms"] > 0 and parts["step"]["found"]["step"]["steps"] >= 1
    mixed = parts["float16"]["found"]["O2"]
    assert 0 < mixed["loss_error"] < 2e-2 and 0.9 < mixed["cosine_of_gradients"] < 1
    assert list(parts["study"]["found"]["status"].values()) == ["completed", "completed"]
    assert parts["forked"]["found"]["how"] == "fresh" and parts["forked"]["found"]["same_bytes"] is True
    assert parts["two_workers"]["found"]["workers"] == 2 and parts["two_workers"]["found"]["same_metrics"] is True


def test_a_part_that_fails_is_recorded_and_the_others_go_on(tmp_path, monkeypatch, capsys):
    out, seen = tmp_path / "card.json", []
    does = {
        "parity": "echo no such device; kill -SEGV $$",
        "step": 'mkdir {0}; echo \'{{"ms": 3, "error": "out of memory"}}\' > {0}/found.json; exit 1',
        "study": "echo what a driver says; exit 7",
    }

    def command_of(name, target, sizes, directory):
        seen.append(list(json.loads(out.read_text())["parts"]))
        return ["sh", "-c", does.get(name, "true").format(directory)]

    monkeypatch.setattr(accelerator, "command_of", command_of)
    assert accelerator.main(["--device", "cpu", "--seconds", LONG, "--out", str(out)]) == 1
    found = json.loads(out.read_text())
    assert not found["passed"] and list(found["parts"]) == sorted(accelerator_parts.PARTS)
    assert {name: part["message"] for name, part in found["parts"].items() if not part["passed"]} == {
        "parity": "ended with signal 11: no such device",
        "step": "out of memory",
        "study": "ended with exit code 7: what a driver says",
    }
    assert found["parts"]["step"]["found"] == {"ms": 3} and found["parts"]["study"]["log"] == ["what a driver says"]
    # before each part all parts before it were written
    assert [len(names) for names in seen] == list(range(len(accelerator_parts.PARTS)))
    assert "parity: failed: ended with signal 11" in capsys.readouterr().out


def test_a_part_that_hangs_is_ended_with_all_that_it_has_started(tmp_path):
    mark = "12345.678"  # s
    outcome = accelerator.done(["sh", "-c", f"sleep {mark} & sleep {mark} & wait"], tmp_path / "part", 2.0)
    assert (outcome.passed, outcome.message) == (False, "it took more than 2 s")
    assert not [p for p in psutil.process_iter(["cmdline"]) if mark in (p.info["cmdline"] or ())]


def test_every_component_is_given_what_it_takes():
    names = component_values.names()
    assert {name.partition(".")[0] for name in names} == {*Components.axes(), "network"}
    for name in set(names) - {component_values.NETWORK}:
        function, given, place = component_values.function_of(name)
        inspect.signature(function).bind(*given)
        assert place < len(given)


def test_values_that_differ_are_named(tmp_path):
    ours, theirs = tmp_path / "device", tmp_path / "cpu"
    for folder in (ours, theirs):
        folder.mkdir()
    exact = {"output_0": np.array([1.0, -4.0]), "gradient": np.array([2.0])}

    def compared(name="occlusion.wang", **changed):
        np.savez(ours / f"{name}.npz", **exact | changed)
        np.savez(theirs / f"{name}.npz", **exact)
        return accelerator_parts.compared(ours, theirs, name)

    assert compared(output_0=np.array([1.0, -4.001])) == ("", {"output_0": 0.00025, "gradient": 0.0})
    assert compared(output_0=np.array([1.0, -4.02]))[0] == "output_0 by 0.005"
    assert compared(component_values.NETWORK, output_0=np.array([1.0, -4.02]))[0] == ""
    assert compared(gradient=np.array([np.nan])) == ("gradient by nan", {"output_0": 0.0, "gradient": "nan"})
    assert compared(gradient=np.zeros(2))[0] == "gradient has shape (2,), (1,) on the CPU"
    (ours / "occlusion.wang.error").write_text("TypeError: no such operator")
    assert compared()[0] == "on the device: TypeError: no such operator"
    assert accelerator_parts.compared(ours, theirs, "selfsup.x")[0] == "was not computed on the device"


def test_an_exception_is_one_sentence_beside_what_was_found(tmp_path, monkeypatch, capsys):
    def fails(part):
        part.keep(seen=1)
        raise RuntimeError("\n----\nno such operator\n----\nlong story")

    monkeypatch.setattr(accelerator_parts, "PARTS", {"step": fails})
    assert accelerator_parts.main(["step", "CPU", "tiny", str(tmp_path / "step")]) == 1
    found = json.loads((tmp_path / "step" / "found.json").read_text())
    assert found == {"seen": 1, "error": "RuntimeError: no such operator"}


@pytest.mark.parametrize(
    "words, told",
    [
        (["--device", "ascend", "--out", "x.json"], "--device ascend: there is no such device here"),
        (["--device", "cpu", "--out", "."], "--out .: is a folder"),
        (["--device", "cpu", "--out", "x.json", "--seconds", "0"], "--seconds must be more than 0"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_written(tmp_path, monkeypatch, capsys, words, told):
    monkeypatch.setattr(accelerator, "available", lambda: "CPU")
    monkeypatch.chdir(tmp_path)
    assert accelerator.main(words) == 2
    assert told in capsys.readouterr().err and not list(tmp_path.iterdir())
