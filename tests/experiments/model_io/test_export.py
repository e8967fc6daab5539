"""The command: what it writes, what it says of it, and what it refuses."""

import dataclasses
import json
import os
import pathlib
import resource
import subprocess
import sys

import numpy as np
import onnx
import pytest
from test_onnx_graph import network_of, smooth

import uflow
from experiments import export
from experiments.records import json_files
from experiments.spec_options import PROTOCOL
from experiments.training import checkpoints, weights
from uflow import backend as ms
from uflow import kernels
from uflow.models.inference import Inference

ROOT = pathlib.Path(__file__).parents[3]
H, W = 37, 50


@pytest.fixture(autouse=True, scope="module")
def graph_mode():
    before = ms.get_context("mode")
    ms.set_context(mode=ms.GRAPH_MODE, device_target="CPU")
    yield
    ms.set_context(mode=before)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A network with its description beside it."""
    network = network_of({"levels": 2}, {"center": False})
    file = tmp_path_factory.mktemp("trained") / "flow.ckpt"
    checkpoints.save_parameters(file, checkpoints.parameters_of((network,)))
    described = {
        "network": dataclasses.asdict(network.options),
        "normalization": {"name": "center_scale", "center": False},
        "sha256": checkpoints.file_digest(file),
    }
    json_files.write_json(file.with_suffix(".json"), described)
    return file


def request_for(checkpoint, out, form="ONNX", **changes):
    given = {"checkpoint": checkpoint, "height": H, "width": W, "out": out, "device": "CPU"}
    return export.Request(file_format=form, **(given | changes))


def exported(*arguments, **changes):
    request = request_for(*arguments, **changes)
    return export.export(export.checkpoint_for(request), request)


def flags(checkpoint, out, **changes):
    given = {"ckpt_file": checkpoint, "height": H, "width": W, "out": out} | changes
    return [word for key, value in given.items() for word in (f"--{key}", str(value))]


def command(*arguments, **changes):
    """The command in a process of its own: a process chooses its device once."""
    line = [sys.executable, "-m", "experiments.export", *flags(*arguments, **changes)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True)


def images():
    return np.stack([smooth(2, 3, H, W, seed=1), smooth(2, 3, H, W, seed=2)])


def flow_of(checkpoint, pair):
    return Inference(weights.find(checkpoint).network()).set_train(False)(*map(ms.Tensor, pair)).asnumpy()


def test_a_mindir_file_gives_exactly_the_flow_of_mindspores_operators(checkpoint, tmp_path):
    from mindspore.train import mind_ir_pb2

    out = tmp_path / "new" / "models"
    done = command(checkpoint, out, file_format="mindir", batch_size=2)
    assert done.returncode == 0, done.stderr
    file = out / "flow_37x50.mindir"
    assert list(out.iterdir()) == [file]
    assert f"{file}: {file.stat().st_size / 1e6:.1f} MB" in done.stdout
    assert "by MindSpore in a new process, differs" in done.stdout
    content = file.read_bytes()
    assert b".so" not in content and str(ROOT).encode() not in content
    described = mind_ir_pb2.ModelProto.FromString(content).user_info
    assert described["checkpoint_sha256"] == checkpoints.file_digest(checkpoint)
    flow = export.run_mindir(file, images(), request_for(checkpoint, out))
    with kernels.disabled():
        np.testing.assert_array_equal(flow, flow_of(checkpoint, images()))


def test_an_onnx_file_takes_any_batch_and_says_what_it_is(checkpoint, tmp_path):
    file, said = exported(checkpoint, tmp_path)
    assert list(tmp_path.iterdir()) == [file] == [tmp_path / "flow_37x50.onnx"]
    assert "by ONNX Runtime, differs from the checkpoint's by at most" in said
    found = {p.key: p.value for p in onnx.load(file).metadata_props}
    assert json.loads(found["network"])["levels"] == 2
    assert json.loads(found["normalization"])["center"] is False
    assert found["checkpoint_sha256"] == checkpoints.file_digest(checkpoint)
    assert (found["protocol"], found["size"], found["version"]) == (PROTOCOL, "37x50", uflow.__version__)
    ours = flow_of(checkpoint, images())
    theirs = export.run_onnx(file, images(), request_for(checkpoint, tmp_path))
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-5 * np.abs(ours).max())
    before = file.read_bytes()
    exported(checkpoint, tmp_path)
    assert file.read_bytes() == before


def test_a_file_that_does_something_else_is_not_left_behind(checkpoint, tmp_path, monkeypatch):
    def wrong(file, network, request, properties):
        bias = dict(network.parameters_and_names())["context.layers.6.bias"]
        right = bias.asnumpy().copy()
        bias.set_data(ms.Tensor(right + np.float32(1e-3)))
        export.write_onnx(file, network, request, properties)
        bias.set_data(ms.Tensor(right))

    (tmp_path / "flow_37x50.onnx").write_bytes(b"an earlier one")
    monkeypatch.setitem(export.FORMATS, "ONNX", (wrong, *export.FORMATS["ONNX"][1:]))
    with pytest.raises(export.Mismatch, match=r"differs from the checkpoint's by 0\.00\d+ px"):
        exported(checkpoint, tmp_path)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"an earlier one"]


def test_a_network_without_a_finite_flow_gives_no_file(checkpoint, tmp_path):
    network = weights.find(checkpoint).network()
    bias = dict(network.parameters_and_names())["context.layers.6.bias"]
    bias.set_data(ms.Tensor(np.full(2, np.nan, np.float32)))
    checkpoints.save_parameters(tmp_path / "nan.ckpt", checkpoints.parameters_of((network,)))
    known = json_files.read_json(checkpoint.with_suffix(".json"))
    json_files.write_json(tmp_path / "nan.json", known | {"sha256": ""})
    done = command(tmp_path / "nan.ckpt", tmp_path / "out", file_format="onnx")
    assert done.returncode == 3
    assert (
        done.stderr == "experiments.export: the flow of the checkpoint is not finite, so the file cannot be checked\n"
    )
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"flow": (0.0, 1.1e-3)}, r"differs from the checkpoint's by 0\.0011 px"),
        ({"flow": (0.0, np.nan)}, "differs from the checkpoint's by nan"),
        ({"flow": (0.0, 0.0, 0.0)}, r"has shape \(3,\)"),
        ({"wanted": (0.0, np.inf)}, "the flow of the checkpoint is not finite"),
    ],
)
def test_only_rounding_is_tolerated(changed, message):
    given = {key: np.array(changed.get(key, (0.0, 0.0)), np.float32) for key in ("flow", "wanted")}
    with pytest.raises(export.Mismatch, match=message):
        export.largest_difference(**given)


def test_rounding_may_grow_with_the_flow():
    wanted = np.array([200.0, 0.0], np.float32)
    assert export.largest_difference(wanted + np.float32(3e-3), wanted) == pytest.approx(3e-3, rel=1e-2)
    with pytest.raises(export.Mismatch):
        export.largest_difference(wanted + np.float32(5e-3), wanted)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"file_format": "TFLITE"}, "--file-format TFLITE: unknown (possible: MINDIR, ONNX, AIR)"),
        ({"file_format": "air"}, "AIR can only be written where an Ascend device is"),
        ({"device_target": "Ascend"}, "--device ascend: there is no such device here"),
        ({"height": 3}, "--height 3 is too small for the network, which works at multiples of 4 px"),
        ({"width": -8}, "--width -8 is too small"),
        ({"batch_size": 0}, "--batch-size 0: at least 1 is needed"),
        ({"ckpt_file": "/nowhere/x.ckpt"}, "checkpoint /nowhere/x.ckpt: there is no such file or directory"),
    ],
)
def test_what_cannot_be_had_is_refused_in_one_sentence(checkpoint, tmp_path, capsys, monkeypatch, changes, message):
    monkeypatch.setattr(export.device, "available", lambda: "CPU")  # also where there is an Ascend or GPU
    assert export.main(flags(checkpoint, tmp_path / "out", **changes)) == 2
    said = capsys.readouterr().err
    assert said.startswith("experiments.export: ") and message in said
    assert said.count("\n") == 1 and not (tmp_path / "out").exists()


def test_the_extra_is_named_where_it_is_not_installed(checkpoint, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(export.sys.modules, "onnxruntime", None)
    assert export.main(flags(checkpoint, tmp_path / "out", file_format="ONNX")) == 2
    assert "needs onnxruntime: pip install 'uflow[export]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("described", [True, False])
def test_a_damaged_checkpoint_is_refused(checkpoint, tmp_path, described):
    broken = tmp_path / "flow.ckpt"
    broken.write_bytes(checkpoint.read_bytes()[:-100])
    known = json_files.read_json(checkpoint.with_suffix(".json"))
    json_files.write_json(broken.with_suffix(".json"), known if described else known | {"sha256": ""})
    with pytest.raises(json_files.RecordError) as caught:
        exported(broken, tmp_path / "out")
    assert str(caught.value).startswith(f"{broken}: ") and "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_an_out_that_cannot_be_written_to_is_refused(checkpoint, tmp_path):
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises(OSError, match=r"cannot be written to \(File exists\)"):
        exported(checkpoint, tmp_path / "file")


def test_a_file_that_does_not_fit_leaves_nothing(checkpoint, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
        with pytest.raises(OSError, match=r"--out .*: cannot be written to \(File too large\)"):
            exported(checkpoint, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())
