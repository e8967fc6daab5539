import numpy as np
import pytest
from goldens.conftest import directory
from goldens.golden import Golden, flow_pixels, planes
from goldens.graph import run
from goldens.networks import Model, architecture, weights_of
from tensor_bundle_writer import write

from experiments import import_weights
from experiments.model_io import tensorflow_checkpoint
from experiments.records import json_files
from experiments.training import checkpoints
from uflow import registry
from uflow.models import reference_weights
from uflow.models.architecture import Architecture
from uflow.models.flow_network import FlowNetwork

DIRECTORY, _ = directory()
NETWORKS = sorted({p.stem for p in DIRECTORY.glob("model_*.npz")} - {"model_dropout", "model_full5"})


def given_options(golden):
    return architecture(golden.entry["feature_kwargs"], golden.entry["flow_kwargs"])


def checkpoint_of(golden, prefix):
    """What the reference's trainer would have saved of a golden network: its weights, moments and counters."""
    values = weights_of(golden)
    arrays = {w.tensorflow: values[w.plain] for w in reference_weights.weights(given_options(golden))}
    moments = {k.replace("/.ATTRIBUTES", "/.OPTIMIZER_SLOT/optimizer/m/.ATTRIBUTES"): v + 1 for k, v in arrays.items()}
    counters = {"optimizer_step/.ATTRIBUTES/VARIABLE_VALUE": np.array(7), "save_counter": np.array(1)}
    write(prefix, arrays | moments | counters)


def imported(prefix, out, golden):
    switches = golden.entry["flow_kwargs"]
    flags = ["--no-feature-warp"] * (not switches.get("use_feature_warp", True))
    flags += ["--no-accumulate-flow"] * (not switches.get("accumulate_flow", True))
    assert import_weights.main(["--tensorflow", str(prefix), "--out", str(out), *flags]) == 0


@pytest.mark.parametrize("name", NETWORKS)
def test_options_and_weights_of_every_network_are_found(name, tmp_path):
    golden = Golden(DIRECTORY, name)
    checkpoint_of(golden, tmp_path / "ckpt-1")
    switches = golden.entry["flow_kwargs"]
    options, values = import_weights.imported(
        tmp_path / "ckpt-1",
        feature_warp=switches.get("use_feature_warp", True),
        accumulate_flow=switches.get("accumulate_flow", True),
    )
    wanted = given_options(golden)
    assert options.pyramid() == wanted.pyramid()
    assert reference_weights.weights(options) == reference_weights.weights(wanted)
    network = FlowNetwork(options, registry.build("normalization", "none"))
    assert {n: p.shape for n, p in network.parameters_and_names()} == {n: v.shape for n, v in values.items()}


@pytest.mark.parametrize("name", [n for n in ("model_base3", "model_shared3", "model_nocost3") if n in NETWORKS])
def test_an_imported_network_estimates_the_flow_of_the_reference(name, tmp_path):
    golden = Golden(DIRECTORY, name)
    checkpoint_of(golden, tmp_path / "ckpt-1")
    imported(tmp_path / "ckpt-1", tmp_path / "uflow.ckpt", golden)
    described = json_files.read_json(tmp_path / "uflow.json")
    assert described["sha256"] == checkpoints.file_digest(tmp_path / "uflow.ckpt")
    options = Architecture(**described["network"])
    network = FlowNetwork(options, registry.build("normalization", "center_scale"))
    checkpoints.load_parameters(tmp_path / "uflow.ckpt", checkpoints.parameters_of([network]))
    _, _, _, flows, _ = run(Model(network), planes(golden["image0"]), planes(golden["image1"]))
    flow = flows[0]
    np.testing.assert_allclose(flow_pixels(flow), golden["flow12_0"], atol=1e-3)


def test_the_checksum_is_crc32c():
    crc = tensorflow_checkpoint._masked_crc32c(b"123456789")
    rotated = (crc - 0xA282EAD8) & 0xFFFFFFFF
    assert (rotated >> 17 | rotated << 15) & 0xFFFFFFFF == 0xE3069283  # the check value of the standard


def small(tmp_path):
    prefix = tmp_path / "ckpt-1"
    write(prefix, {"a/kernel": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array(3), "c": np.zeros((0, 2))})
    return prefix


def test_tensors_of_several_types_and_shapes_are_read(tmp_path):
    found = tensorflow_checkpoint.read(small(tmp_path))
    np.testing.assert_array_equal(found["a/kernel"], [[0, 1, 2], [3, 4, 5]])
    assert found["b"] == 3 and found["c"].shape == (0, 2)


def damaged(prefix, suffix, at):
    path = prefix.with_name(prefix.name + suffix)
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    path.write_bytes(bytes(content))


def test_what_cannot_be_read_is_refused_with_one_sentence(tmp_path, capsys):
    prefix = small(tmp_path)
    with pytest.raises(tensorflow_checkpoint.BundleError, match="prefixes there: ckpt-1"):
        tensorflow_checkpoint.read(tmp_path / "ckpt-2")
    assert import_weights.main(["--tensorflow", str(prefix), "--out", str(tmp_path / "o.ckpt")]) == 2
    assert "not weights of the reference's network" in capsys.readouterr().err
    damaged(prefix, ".data-00000-of-00001", 5)
    with pytest.raises(tensorflow_checkpoint.BundleError, match="a/kernel is damaged"):
        tensorflow_checkpoint.read(prefix)
    damaged(prefix, ".index", -1)
    with pytest.raises(tensorflow_checkpoint.BundleError, match="not the index of a TensorFlow checkpoint"):
        tensorflow_checkpoint.read(prefix)


def test_a_damaged_or_cut_index_never_gives_other_values(tmp_path):
    prefix = small(tmp_path)
    path = prefix.with_name("ckpt-1.index")
    whole, wanted = path.read_bytes(), tensorflow_checkpoint.read(prefix)
    cuts = [whole[:size] for size in range(len(whole))]
    noticed = 0
    for content in cuts + [whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :] for at in range(len(whole))]:
        path.write_bytes(content)
        try:
            found = tensorflow_checkpoint.read(prefix)
        except tensorflow_checkpoint.BundleError as error:
            noticed += 1
            assert "ckpt-1" in str(error)
        else:  # a block that is not read, or what fills up the footer
            assert len(content) == len(whole)
            assert all(np.array_equal(found[key], value) for key, value in wanted.items())
    assert noticed > 1.6 * len(whole)


def command(*arguments):
    """Exit code of the command."""
    try:
        return import_weights.main([str(a) for a in arguments])
    except SystemExit as stopped:
        return stopped.code


def whole_checkpoint(prefix):
    checkpoint_of(Golden(DIRECTORY, "model_base3"), prefix)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("no checkpoint", "ckpt-2.index: no such file; prefixes there: ckpt-1"),
        ("folder", "ckpt-2.index: cannot be read"),
        ("no data", "data-00000-of-00001: no such file"),
        ("cut index", "ckpt-1.index: not the index of a TensorFlow checkpoint"),
        ("cut data", "is cut off or has another size than its shape"),
        ("other names", "not weights of the reference's network (names there: a/kernel, b, c"),
        ("names missing", "not weights of the reference's network"),
        ("weight missing", "weights are missing for Architecture("),
        ("another shape", "pyramid.levels.1.1.weight has shape (4, 7, 3, 3), the network needs (4, 4, 3, 3)"),
        ("no .ckpt", "must be the name of a file, ending in .ckpt"),
        ("no folder", "cannot be written to"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(tmp_path, capsys, damage, sentence):
    folder, out = tmp_path / "checkpoints", tmp_path / "out" / "uflow.ckpt"
    folder.mkdir()
    prefix = folder / "ckpt-1"
    whole_checkpoint(prefix)
    index, data = prefix.with_name("ckpt-1.index"), prefix.with_name("ckpt-1.data-00000-of-00001")
    if damage in ("no checkpoint", "folder"):
        prefix = folder / "ckpt-2"
        if damage == "folder":
            (folder / "ckpt-2.index").mkdir()
    elif damage == "no data":
        data.unlink()
    elif damage.startswith("cut"):
        path = index if "index" in damage else data
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif damage == "other names":
        small(folder)
    elif damage in ("names missing", "weight missing", "another shape"):
        values = tensorflow_checkpoint.read(prefix)
        names = {"names missing": "feature_model/_convs/1/0/kernel", "weight missing": "feature_model/_convs/1/0/bias"}
        if damage == "another shape":
            values[f"feature_model/_convs/1/1/kernel{reference_weights._SUFFIX}"] = np.zeros((3, 3, 7, 4), np.float32)
        else:
            del values[names[damage] + reference_weights._SUFFIX]
        write(prefix, values)
    elif damage == "no .ckpt":
        out = tmp_path / "out" / "uflow"
    elif damage == "no folder":
        out = index / "uflow.ckpt"
    before = sorted(tmp_path.rglob("*"))
    assert command("--tensorflow", prefix, "--out", out) == 2
    error = capsys.readouterr().err
    assert sentence in error and "Traceback" not in error
    assert len([line for line in error.splitlines() if not line.startswith(("usage", " "))]) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_the_help_says_what_it_takes_and_writes(capsys):
    assert command("--help") == 0
    text = capsys.readouterr().out
    assert all(word in text for word in ("CKPT_PREFIX", "without .index", "FILE.ckpt", "FILE.json"))


def test_weights_of_another_network_are_named(tmp_path):
    golden = Golden(DIRECTORY, "model_base3")
    values = {w.tensorflow: np.zeros(1) for w in reference_weights.weights(given_options(golden))[1:]}
    with pytest.raises(ValueError, match=r"1 of \d+ weights are missing .*_convs/0/0/kernel"):
        reference_weights.parameters(values, given_options(golden), "tensorflow")
