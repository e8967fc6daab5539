"""Files that bring components: loaded once, told apart by their content, and refused by name without a trace."""

import hashlib
import inspect
import os
import subprocess
import sys

import pytest

from experiments.data import catalog
from experiments.spec import canonical, changed, default_spec, from_config, to_config
from experiments.training import graph_cache
from uflow import extensions, registry

LOSS = '''
from uflow.options import Range, option
from uflow.registry import register

@register("photometric", "{name}", source="none")
class Mine:
    """A loss that is always {value}."""
    weight: float = option(1.0, Range(0.0, 100.0), help="weight of the term")

    def __call__(self, image, reconstruction, visible):
        return {value}
'''

MINE = LOSS.format(name="mine", value=2.0)


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch):
    registry.names("photometric")
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    monkeypatch.setattr(extensions, "_loaded", {})


@pytest.fixture
def written(tmp_path):
    def write(text=MINE, name="mine.py"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def chosen(name="mine"):
    return changed(default_spec(), {"photometric.name": name})


def test_a_component_of_a_file_is_built_like_any_other(written):
    file = written()
    assert extensions.load([file]) == (file,)
    assert registry.build("photometric", "mine", {"weight": 3})(0, 0, 0) == 2.0
    with pytest.raises(ValueError, match=r"weight must be a number in \[0, 100\]"):
        registry.build("photometric", "mine", {"weight": -1})


def test_the_digest_of_the_file_is_part_of_the_spec_and_of_the_names_of_runs_and_graphs(written):
    file = written()
    extensions.load([file])
    first, stored = chosen(), to_config(chosen())
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:12]
    assert canonical(first)["photometric"] == {"name": "mine", "revision": 1, "weight": 1.0, "extension": digest}
    assert from_config(stored) == first
    names = first.run_id, graph_cache.graph_key(first, 0)

    written(file.read_text() + "# another content\n")
    extensions.load([file])
    assert all(
        one != other for one, other in zip(names, (chosen().run_id, graph_cache.graph_key(chosen(), 0)), strict=True)
    )
    with pytest.raises(
        ValueError, match=rf"'mine' was stored as that of a file with digest {digest}, {file} has [0-9a-f]+"
    ):
        from_config(stored)
    with pytest.raises(ValueError, match="'mine' has no option 'extension'"):
        changed(chosen(), {"photometric.extension": digest})


def test_a_spec_of_built_in_components_has_the_name_that_it_had_before(written):
    before = default_spec().run_id, to_config(default_spec())
    extensions.load([written()])
    assert (default_spec().run_id, to_config(default_spec())) == before
    assert default_spec().run_id == "c2ce62d04a1f"


def test_a_spec_of_a_file_that_was_not_loaded_says_how_to_give_it(written):
    extensions.load([written()])
    stored = to_config(chosen())
    registry.withdraw(written())
    with pytest.raises(ValueError, match="photometric component 'mine' is not of this project .* --extensions"):
        from_config(stored)


def test_a_file_is_executed_once_and_what_is_compiled_is_what_was_loaded(written, tmp_path):
    count = f"open({str(tmp_path / 'count')!r}, 'a').write('x')\n"
    file = written(count + LOSS.format(name="mine", value=2.0))
    extensions.load([file])
    extensions.load([tmp_path / ".." / tmp_path.name / "mine.py"])
    assert (tmp_path / "count").read_text() == "x"
    built = registry.build("photometric", "mine")
    written(LOSS.format(name="mine", value=7.0))
    assert "return 2.0" in inspect.getsource(type(built).__call__)


def test_of_a_folder_all_files_are_loaded_but_those_that_begin_with_an_underscore(written, tmp_path):
    one, other = written(), written(LOSS.format(name="other", value=1.0), "other.py")
    written("raise SystemError", "_not_this.py")
    assert extensions.load([tmp_path]) == (one, other)


@pytest.mark.parametrize(
    "text, said",
    [
        (None, "extension '{file}' does not exist"),
        ("import no_such_module", "extension '{file}': ModuleNotFoundError: No module named 'no_such_module'"),
        ("def broken(:", "extension '{file}': SyntaxError: "),
        (b"x = '\xff'", "extension '{file}': SyntaxError: "),
        ("raise SystemExit(3)", "extension '{file}': ends the process (exit 3) while it is being read"),
        ("x = 1", "extension '{file}': registers no component and has none of SOURCES, "),
        ("SOURCES = 3", "extension '{file}': ValueError: SOURCES must be functions by name, "),
        ("REGIONS = {'mine': 3}", "ValueError: REGIONS must be functions by name, {{'name': function}}, got"),
        (LOSS.format(name="l1", value=1), "photometric component 'l1' is already that of uflow.photometric.l1.L1"),
        (
            LOSS.format(name="mine", value=1) * 2,
            "photometric component 'mine' is already that of uflow_extension_mine_",
        ),
        (LOSS.format(name="mine", value=1).replace("photometric", "color"), "unknown axis 'color'"),
        (LOSS.format(name="mine", value=1).replace("weight:", "revision:"), "has an option 'revision', which means"),
        (LOSS.format(name="mine", value=1) + "raise RuntimeError('late')", "extension '{file}': RuntimeError: late"),
        (LOSS.format(name="mine", value=1) + "Mine.__module__ = 'json'", "which no run would find"),
    ],
)
def test_what_cannot_be_loaded_is_refused_in_one_sentence_and_leaves_nothing(tmp_path, text, said):
    file, before = tmp_path / "mine.py", dict(registry._entries)
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError) as caught:
        extensions.load([file])
    assert said.format(file=file) in str(caught.value) and "\n" not in str(caught.value)
    assert registry._entries == before and extensions.files() == ()


def test_two_files_with_one_name_are_refused_naming_the_first(written):
    first, second = written(), written(LOSS.format(name="mine", value=3), "again.py")
    with pytest.raises(ValueError, match=f"again.py.*photometric component 'mine' is already that of {first}"):
        extensions.load([first, second])


def test_what_only_the_working_directory_has_is_refused_for_no_run_would_find_it(written, tmp_path):
    written("x = 1", "neighbor.py")
    file = written("import neighbor\n" + LOSS.format(name="mine", value=1))
    command = [sys.executable, "-m", "studies.run", "photometric_ablation", "--plan", "--extensions", file.name]
    told = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(extensions.ROOT)}
    )
    assert told.returncode == 2 and told.stderr.count("\n") == 1, told.stderr
    assert "extension 'mine.py': ModuleNotFoundError: No module named 'neighbor'" in told.stderr


def test_a_package_brings_components_by_its_entry_point(written, tmp_path, monkeypatch):
    written(LOSS.format(name="installed", value=1), "some_package.py")
    folder = tmp_path / "some_package-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: some-package\nVersion: 1\n")
    (folder / "entry_points.txt").write_text("[uflow.extensions]\nlosses = some_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert extensions.load() == ()  # other processes find it without being told a path
    digest = hashlib.sha256((tmp_path / "some_package.py").read_bytes()).hexdigest()[:12]
    assert to_config(chosen("installed"))["photometric"]["extension"] == digest


READER = """
import dataclasses
from experiments.data.synthetic.options import SceneOptions
from experiments.data.synthetic.scenes import Scenes

def tiny(path, split):
    return Scenes(SceneOptions(train_pairs=2, radius_min=5, radius_max=8), 32, 48, split)

SOURCES = {"tiny": tiny}
"""


def test_a_data_set_of_a_file_is_named_like_any_other_and_its_code_is_in_the_digest(written, tmp_path):
    from experiments.execution.inputs import with_digests

    file = written(READER, "reader.py")
    assert extensions.load([file]) == (file,) and "tiny" in catalog.names()
    spec = changed(default_spec(), {"data.source": f"tiny:{tmp_path}"})
    first = with_digests(spec)
    written(READER + "# changed\n", "reader.py")
    extensions.load([file])
    again = with_digests(spec)
    assert again.data.digest != first.data.digest and again.evaluation.digest != first.evaluation.digest
    with pytest.raises(ValueError, match="the data has changed"):
        with_digests(first)


def test_a_data_set_with_a_name_that_is_taken_is_refused(written):
    file = written(READER.replace('"tiny"', '"kitti2015"'), "reader.py")
    extensions.load([file])
    with pytest.raises(ValueError, match=f"{file}: a data set 'kitti2015' is there already"):
        catalog.parse("synthetic")
