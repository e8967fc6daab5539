import dataclasses
import json

import numpy as np
import pytest

from experiments.records import json_files
from experiments.spec import changed, default_spec, to_config
from experiments.training import checkpoints, weights
from uflow import backend as ms
from uflow.models.flow_network import FlowNetwork, initialize


@pytest.fixture(scope="module")
def spec():
    small = {"network.levels": 2, "network.width": 0.125, "normalization.name": "none", "occlusion.name": "brox"}
    return changed(default_spec(), small)


@pytest.fixture(scope="module")
def parameters(spec):
    network = FlowNetwork(spec.network, spec.normalization)
    initialize(network, 3)
    return checkpoints.parameters_of((network,))


def values(network):
    return {name: p.asnumpy() for name, p in checkpoints.parameters_of((network,)).items()}


def assert_same(network, parameters):
    got = values(network)
    assert sorted(got) == sorted(parameters)
    for name, value in got.items():
        np.testing.assert_array_equal(value, parameters[name].asnumpy())


def test_the_newest_checkpoint_of_a_run(tmp_path, spec, parameters):
    json_files.write_json(tmp_path / "spec.json", to_config(spec))
    more = parameters | {"moment": ms.Parameter(ms.Tensor(np.ones(2, np.float32)), name="moment")}
    for step in (5, 7):
        checkpoints.save(tmp_path / "checkpoints", step, more, {})
    for path in (tmp_path, tmp_path / "checkpoints", tmp_path / "checkpoints" / "step_000000007.ckpt"):
        found = weights.find(path)
        assert found.file.name == "step_000000007.ckpt" and found.spec == spec and found.whole
    assert_same(found.network(), parameters)


def test_a_file_with_its_description_beside_it(tmp_path, spec, parameters):
    checkpoints.save_parameters(tmp_path / "uflow.ckpt", parameters)
    plain = to_config(spec)
    json_files.write_json(tmp_path / "uflow.json", {key: plain[key] for key in ("network", "normalization")})
    found = weights.find(tmp_path / "uflow.ckpt")
    assert not found.whole
    assert (found.spec.network, found.spec.normalization) == (spec.network, spec.normalization)
    assert found.spec.occlusion == default_spec().occlusion
    assert_same(found.network(), parameters)


def test_best_goes_before_last_and_both_before_the_newest(tmp_path, spec, parameters):
    json_files.write_json(tmp_path / "spec.json", to_config(spec))
    checkpoints.save(tmp_path / "checkpoints", 1, parameters, {})
    for name in ("last", "best"):
        checkpoints.save_parameters(tmp_path / f"{name}.ckpt", parameters)
        assert weights.find(tmp_path).file.name == f"{name}.ckpt"


def test_a_damaged_file_is_told_from_a_foreign_one(tmp_path, spec, parameters):
    json_files.write_json(tmp_path / "spec.json", to_config(spec))
    checkpoints.save(tmp_path, 1, parameters, {})
    file = tmp_path / "step_000000001.ckpt"
    found = weights.find(file)
    file.chmod(0o644)
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)
    with pytest.raises(json_files.RecordError, match="damaged"):
        found.network()
    with pytest.raises(json_files.RecordError, match="no whole checkpoint"):
        weights.find(tmp_path)
    wide = dataclasses.replace(spec, network=dataclasses.replace(spec.network, width=0.25))
    checkpoints.save_parameters(tmp_path / "x.ckpt", parameters)
    json_files.write_json(tmp_path / "x.json", {"network": dataclasses.asdict(wide.network)})
    with pytest.raises(json_files.RecordError, match="has shape"):
        weights.find(tmp_path / "x.ckpt").network()


@pytest.mark.parametrize(
    "beside, message",
    [
        (None, "nothing says which network"),
        ("[]", "must hold a JSON object"),
        ("{", "not valid JSON"),
        (json.dumps({"network": {"levles": 3}}), "did you mean"),
    ],
)
def test_what_does_not_say_its_network_is_refused(tmp_path, beside, message):
    (tmp_path / "lonely.ckpt").write_bytes(b"x")
    if beside is not None:
        (tmp_path / "lonely.json").write_text(beside)
    with pytest.raises(json_files.RecordError, match=message):
        weights.find(tmp_path / "lonely.ckpt")


def test_a_path_that_is_not_there(tmp_path):
    with pytest.raises(json_files.RecordError, match="no such file"):
        weights.find(tmp_path / "nothing")
    with pytest.raises(json_files.RecordError, match="no whole checkpoint"):
        weights.find(tmp_path)
