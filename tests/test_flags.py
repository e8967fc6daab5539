"""Every command of the project reads the same words for the same thing."""

import ast
import importlib
import pathlib
import pkgutil
import re

import pytest

from experiments.cli import flags

ROOT = pathlib.Path(__file__).parents[1]
PACKAGES = ("uflow", "experiments", "analysis", "studies", "benchmarks")
WITHOUT_FLAGS = {
    "uflow.table": "takes one file name",
    "uflow.check": "takes files, or one axis",
    "studies.workers.fork_server": "is started by a worker, with JSON",
    "benchmarks.side": "is started by benchmarks.step, with JSON",
    "benchmarks.accelerator_parts": "is started by benchmarks.accelerator, with four words",
    "benchmarks.component_values": "is started by benchmarks.accelerator_parts, with names",
    "benchmarks.trivial_run": "is started by a worker, in place of experiments.run",
}


def modules():
    for package in PACKAGES:
        for found in pkgutil.walk_packages([str(ROOT / package)], f"{package}."):
            source = pathlib.Path(found.module_finder.path, f"{found.name.rpartition('.')[2]}.py")
            if source.exists():
                yield found.name, source.read_text(encoding="utf-8")


COMMANDS = sorted(name for name, text in modules() if '__name__ == "__main__"' in text and name not in WITHOUT_FLAGS)


def parser(command):
    return importlib.import_module(command).parser()


def declared(command):
    made = parser(command)
    return {word: action for action in made._actions for word in action.option_strings if word.startswith("--")}


def test_every_command_is_known_and_reads_its_flags_here():
    assert len(COMMANDS) >= 13
    for command in COMMANDS:
        assert isinstance(parser(command), flags.Parser), command
    for name, text in modules():
        assert "ArgumentParser(" not in text.replace("class Parser(argparse.ArgumentParser)", ""), name


@pytest.mark.parametrize("command", COMMANDS)
def test_a_hyphen_is_an_underscore_and_other_words_are_read(command):
    made = parser(command)
    for word in declared(command):
        assert "_" not in word, f"{command} {word}: declared with hyphens, read in both spellings"
        assert made._spelled([word.replace("-", "_").replace("__", "--", 1)]) == [word]
        assert made._spelled([f"{word.replace('-', '_').replace('__', '--', 1)}=a_b-c"]) == [f"{word}=a_b-c"]
    for word, flag in made.aliases().items():
        for spelled in (word, word[:2] + word[2:].replace("-", "_")):
            assert made._spelled([spelled, "a_b", f"{spelled}=--x_y"]) == [flag, "a_b", f"{flag}=--x_y"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_flag_cut_short_is_refused_with_the_one_that_is_meant(command, capsys):
    for word in declared(command):
        if len(word) > 6 and word[:-1] not in declared(command):
            made = parser(command)
            for action in made._actions:  # what else is lacking is not the question
                action.required, action.choices = False, None
                action.nargs = "*" if not action.option_strings else action.nargs
            with pytest.raises(SystemExit) as ended:
                made.parse_args([word[:-1]])
            said = capsys.readouterr().err
            assert ended.value.code == 2 and "unrecognized arguments" in said and said.count("\n") == 1
            assert "did you mean '--" in said, f"{word}: {said}"


PATHS = {  # files, and a folder
    *(("experiments.convert", "data"), ("experiments.import_weights", "out"), ("benchmarks.accelerator", "out")),
}


def test_a_flag_means_the_same_in_every_command():
    for name, settings in flags.SHARED.items():
        for command in COMMANDS:
            if (action := declared(command).get(f"--{name}")) and (command, name) not in PATHS:
                assert action.metavar == settings["metavar"], f"{command} --{name}"
                if name not in ("eval", "checkpoint", "out", "device"):  # what it is for differs
                    assert action.help.startswith(settings["help"]), f"{command} --{name}"


def test_the_words_of_the_vocabulary_are_the_declared_ones():
    for command in COMMANDS:
        assert not set(declared(command)) & {f"--{word}" for word in flags.ALIASES} - {"--pre-trained"}, command


def strings(text):
    """The strings of a module that are shown to somebody: no docstrings, no aliases."""
    tree = ast.parse(text)
    hidden = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in hidden:
            yield node.value


OTHERS = {  # flags of other programs that are started or named
    "benchmarks.accelerator_parts": {"--query-gpu", "--format", "--version"},
    "uflow.check": {"--axis"},
    "uflow.kernels.build": {"--version"},
    "experiments.records.code_version": {
        "--no-optional-locks",
        "--show-toplevel",
        "--porcelain",
        "--untracked-files",
    },
    "experiments.new": {"--extensions", "--preset", "--plan", "--eval", "--method"},  # of what it says to do next
    "experiments.run": {"--loglevel", "--force"},
    "studies.cli.ending": {"--backend-store-uri", "--artifacts-destination"},
    "studies.launchers.slurm_jobs": {"--test-only", "--me", "--states", "--noheader", "--state", "--batch", "--signal"},
}


def test_every_flag_that_a_message_names_is_one_that_a_command_has():
    known = set().union(*(declared(command) for command in COMMANDS))
    for name, text in modules():
        if name == "experiments.cli.flags":
            continue
        for string in strings(text):
            for flag in re.findall(r"(?<![\w-])--[a-z][\w-]*", string):
                assert flag in known | OTHERS.get(name, set()), f"{name}: {string!r} names {flag}"


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("experiments.")])
def test_a_command_names_only_flags_that_it_has(command):
    known = set(declared(command)) | OTHERS.get(command, set())
    text = pathlib.Path(importlib.import_module(command).__file__).read_text(encoding="utf-8")
    for string in strings(text):
        for flag in re.findall(r"(?<![\w-])--[a-z][\w-]*", string):
            assert flag in known, f"{command}: {string!r} names {flag}"


@pytest.mark.parametrize(
    "words, device, number",
    [([], "auto", 0), (["--device", "cpu"], "CPU", 0), (["--device_target=GPU", "--device_id", "2"], "GPU", 2),
     (["--device", "ascend:3"], "Ascend", 3)],
)  # fmt: skip
def test_a_device_is_named_in_either_way(words, device, number):
    given = parser("experiments.run").parse_args(words)
    assert (given.device, given.device_id) == (device, number)


@pytest.mark.parametrize("word", ["tpu", "cpu:1", "gpu:x", "gpu:", ""])
def test_a_device_that_there_is_not_is_refused(word, capsys):
    with pytest.raises(SystemExit):
        parser("experiments.run").parse_args(["--device", word])
    assert "must be auto, cpu, gpu, ascend, or as in gpu:1" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command, words, values",
    [
        ("train", "--train_on=sintel-clean:/p --height=448 --width=1024 --lr 0.00005 --checkpoint_dir=D"
         " --pre_trained=True --pre_ckpt_path=P",
         {"data": "sintel-clean:/p", "out": pathlib.Path("D"), "checkpoint": "P", "lr": 5e-5}),
        ("evaluate", "--eval_on=flyingchairs:/p --height=384 --width=512 --checkpoint_dir=D",
         {"eval": "flyingchairs:/p", "checkpoint": "D", "height": 384}),
        ("export", "--ckpt_file C --height 384 --width 512 --file_format MINDIR",
         {"checkpoint": pathlib.Path("C"), "file_format": "MINDIR"}),
        ("convert", "sintel --data_dir D --output_dir O --shard=0 --num_shards=1",
         {"data": pathlib.Path("D"), "out": pathlib.Path("O"), "num_shards": 1}),
    ],
)  # fmt: skip
def test_the_commands_of_the_mindspore_port_are_understood(command, words, values):
    given = vars(parser(f"experiments.{command}").parse_args(words.split()))
    assert values.items() <= given.items()
