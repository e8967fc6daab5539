"""The kernels compute what the compositions compute, on any number of threads, and give way when they cannot.

Everything runs in graph mode, as in training. The reference is the composition, with the kernels switched off.
"""

from __future__ import annotations

import concurrent.futures
import ctypes
import os
import pathlib
import pwd
import subprocess
import sys
import tempfile
import textwrap

import numpy as np
import pytest

from uflow import backend as ms
from uflow import kernels
from uflow.kernels import build, dispatch
from uflow.ops import geometry
from uflow.photometric.census import hamming_distance

ROOT = pathlib.Path(__file__).parents[2]
FUNCTIONS = {
    "convolution": geometry.convolution,
    "cost_volume": geometry.cost_volume,
    "warp": geometry.warp,
    "range_map": geometry.range_map,
    "hamming_distance": hamming_distance,
}


@pytest.fixture(autouse=True, scope="module")
def graph_mode():
    before = ms.get_context("mode")
    ms.set_context(mode=ms.GRAPH_MODE, device_target="CPU")
    yield
    ms.set_context(mode=before)


@pytest.fixture(scope="module")
def built():
    if not kernels.switch.active:
        pytest.skip("no kernels on this machine")


def noise(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


class Probe(ms.nn.Cell):
    """Inputs of `function` to the sum of its result times a fixed random field, and the result."""

    def __init__(self, function, arguments):
        super().__init__()
        self.function, self.arguments = function, arguments

    def construct(self, field, *inputs):
        result = self.function(*inputs, *self.arguments)
        return (result * field).sum(), result


def run(function, arguments, inputs, field):
    """The result of `function` and its gradient by every input, NumPy."""
    probe = Probe(function, arguments)
    gradients = ms.value_and_grad(probe, tuple(range(1, 1 + len(inputs))), has_aux=True)

    @ms.jit
    def step(*tensors):
        return gradients(*tensors)

    (_, result), found = step(ms.Tensor(field), *(ms.Tensor(x) for x in inputs))
    return [x.asnumpy() for x in (result, *found)]


def compare(monkeypatch, name, inputs, arguments=(), shape=None, tolerance=1e-5):
    """Asserts that kernel and composition agree relative to the largest value; returns the kernel's arrays.

    `name`: a function that asks the switch, or a pair of functions.
    """
    with_kernels, without = (FUNCTIONS[name],) * 2 if isinstance(name, str) else name
    field = noise(*shape, seed=7)
    monkeypatch.setenv("UFLOW_KERNELS", "on")
    fast = run(with_kernels, arguments, inputs, field)
    monkeypatch.setenv("UFLOW_KERNELS", "off")
    slow = run(without, arguments, inputs, field)
    for index, (a, b) in enumerate(zip(fast, slow, strict=True)):
        what = "result" if index == 0 else f"gradient by input {index - 1}"
        assert a.shape == b.shape, what
        limit = tolerance * max(1e-3, float(np.abs(b[np.isfinite(b)]).max(initial=0.0)))
        np.testing.assert_allclose(a, b, rtol=0, atol=limit, err_msg=f"{name}{arguments}: {what}")
    return fast


CONVOLUTIONS = {  # samples, inputs, outputs, height, width, kernel; stride, dilation, padding, leaky_relu
    "decoder": ((2, 19, 24, 16, 16, 3), (1, 1, 1, True)),
    "first of a level": ((2, 3, 8, 16, 12, 3), (2, 1, 1, True)),
    "odd sizes, stride 2": ((1, 5, 7, 9, 13, 3), (2, 1, 1, False)),
    "dilated beyond the image": ((1, 4, 6, 5, 7, 3), (1, 8, 8, True)),
    "head": ((3, 8, 2, 8, 8, 3), (1, 1, 1, False)),
    "1x1": ((2, 9, 5, 6, 4, 1), (1, 1, 0, True)),
    "surrogate": ((1, 6, 16, 11, 9, 4), (1, 1, 0, False)),
    "wide": ((1, 70, 33, 6, 20, 3), (1, 2, 2, True)),
}


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolution_matches_composition(built, monkeypatch, case):
    (b, c, o, h, w, k), arguments = CONVOLUTIONS[case]
    stride, dilation, padding, _ = arguments
    size = [(n + 2 * padding - dilation * (k - 1) - 1) // stride + 1 for n in (h, w)]
    inputs = [noise(b, c, h, w), noise(o, c, k, k, seed=1), noise(o, seed=2)]
    compare(monkeypatch, "convolution", inputs, arguments, (b, o, *size))


def test_leaky_relu_at_zero_and_nan(built, monkeypatch):
    x = np.array([-2, 0, 3, np.nan], np.float32).reshape(1, 1, 1, 4)
    inputs = [x, np.ones((1, 1, 1, 1), np.float32), np.zeros(1, np.float32)]
    for mode in ("on", "off"):
        monkeypatch.setenv("UFLOW_KERNELS", mode)
        value, slope, *_ = run(geometry.convolution, (1, 1, 0, True), inputs, np.ones_like(x))
        np.testing.assert_allclose(value.ravel(), [-0.2, 0, 3, np.nan], rtol=1e-6)
        np.testing.assert_allclose(slope.ravel()[:3], [0.1, 0.1, 1], rtol=1e-6)


@pytest.mark.parametrize("shape", [(2, 8, 8, 8), (1, 5, 3, 7)])
def test_transposed_convolution_matches_the_networks(built, monkeypatch, shape):
    b, c, h, w = shape
    outputs = 6
    cell = ms.nn.Conv2dTranspose(c, outputs, 4, stride=2, pad_mode="pad", padding=1, has_bias=True)

    def composed(x, weight, bias):
        return ms.ops.bias_add(cell.conv2d_transpose(x, weight, (b, outputs, 2 * h, 2 * w)), bias)

    inputs = [noise(*shape), noise(c, outputs, 4, 4, seed=1), noise(outputs, seed=2)]
    functions = (kernels.transposed_convolution, composed)
    compare(monkeypatch, functions, inputs, (), (b, outputs, 2 * h, 2 * w))


MAPS = {
    "decoder": (2, 8, 16, 16),
    "coarsest": (2, 8, 8, 8),
    "odd sizes": (1, 7, 9, 21),
    "smaller than the reach": (3, 5, 3, 5),
}


@pytest.mark.parametrize("shape", MAPS.values(), ids=MAPS)
@pytest.mark.parametrize("arguments", [(4, True), (4, False), (1, False)])
def test_cost_volume_matches_composition(built, monkeypatch, shape, arguments):
    b, _, h, w = shape
    inputs = [noise(*shape), noise(*shape, seed=1)]
    compare(monkeypatch, "cost_volume", inputs, arguments, (b, (2 * arguments[0] + 1) ** 2, h, w))


def flow_over_borders(b, h, w, spread=3.0):
    """A flow of which some points fall on whole numbers, some on the last row or column, some far outside."""
    flow = spread * noise(b, 2, h, w, seed=5)
    flow[:, :, ::3, ::2] = np.round(flow[:, :, ::3, ::2])
    flow[:, 0, 1] = (w - 1) - np.arange(w)
    flow[:, 1, :, 1] = (h - 1) - np.arange(h)
    flow[:, 0, 2, 2], flow[:, 1, 2, 3] = 1e9, -3e38
    flow[:, 1, 0, 0], flow[:, 0, 0, 1] = -0.25, -1.75
    return flow.astype(np.float32)


@pytest.mark.parametrize("shape", [(2, 8, 16, 16), (1, 3, 13, 9), (3, 1, 4, 21)])
def test_warp_matches_composition(built, monkeypatch, shape):
    b, _, h, w = shape
    compare(monkeypatch, "warp", [noise(*shape), flow_over_borders(b, h, w)], (), shape)


def test_warp_by_a_whole_number_is_exact_and_flat(built, monkeypatch):
    image, flow = noise(1, 2, 6, 7), np.zeros((1, 2, 6, 7), np.float32)
    flow[:, 0], flow[:, 1] = 2, -1  # reads 2 px to the right, 1 px above
    warped, _, slope = compare(monkeypatch, "warp", [image, flow], (), image.shape)
    np.testing.assert_array_equal(warped[:, :, 1:, :-2], image[:, :, :-1, 2:])
    assert not warped[:, :, 0].any() and not warped[..., -2:].any() and not slope.any()


@pytest.mark.parametrize(
    ("shape", "factor"),
    [((1, 13, 9), 1), ((3, 8, 21), 1), ((1, 17, 10), 4)],  # few, as the composition takes long to compile
)
def test_range_map_matches_composition(built, monkeypatch, shape, factor):
    b, h, w = shape
    compare(monkeypatch, "range_map", [flow_over_borders(b, h, w)], (factor,), (b, 1, h, w))


def test_range_map_of_a_shift_counts_each_pixel_once(built, monkeypatch):
    flow = np.zeros((1, 2, 4, 5), np.float32)
    flow[:, 0], flow[:, 1] = 1, -2
    monkeypatch.setenv("UFLOW_KERNELS", "on")
    covered, _ = run(geometry.range_map, (), [flow], noise(1, 1, 4, 5))
    expected = np.zeros((4, 5))
    expected[:2, 1:] = 1
    np.testing.assert_array_equal(covered[0, 0], expected)


@pytest.mark.parametrize("shape", [(2, 3, 24, 20), (1, 3, 7, 33), (1, 3, 35, 5)])
@pytest.mark.parametrize("patch", [3, 7])
def test_hamming_distance_matches_composition(built, monkeypatch, shape, patch):
    b, _, h, w = shape
    # a few gray values of contrast: full contrast saturates the transform, whose difference is then mostly rounding
    image = 0.02 * np.random.default_rng(0).random(shape).astype(np.float32)
    close = (image + 0.003 * noise(*shape)).astype(np.float32)
    compare(monkeypatch, "hamming_distance", [image, close], (patch,), (b, 1, h, w), 3e-5)


def test_hamming_distance_by_hand(built, monkeypatch):
    image = np.zeros((1, 3, 5, 5), np.float32)
    dot = image.copy()
    dot[:, :, 2, 2] = 1 / 255  # one gray value, up to the rounding of the weights' sum 0.9999
    distance, *_ = compare(monkeypatch, "hamming_distance", [image, dot], (3,), (1, 1, 5, 5))
    square = 0.9999**2 / (0.81 + 0.9999**2)
    one = square / (0.1 + square)
    expected = np.zeros((5, 5))
    expected[1:4, 1:4] = one
    expected[2, 2] = 8 * one
    np.testing.assert_allclose(distance[0, 0], expected, rtol=1e-5)


CALLS = {
    "convolution": [(1, 3, 5, 6), (4, 3, 3, 3), (4,)],
    "cost_volume": [(1, 3, 5, 6), (1, 3, 5, 6)],
    "warp": [(1, 3, 5, 6), (1, 2, 5, 6)],
    "hamming_distance": [(1, 3, 7, 6), (1, 3, 7, 6)],
    "range_map": [(1, 2, 5, 6)],
}


@pytest.mark.parametrize(
    ("name", "index"), [(name, index) for name, shapes in CALLS.items() for index in range(len(shapes))]
)
def test_nan_reaches_the_result(built, monkeypatch, name, index):
    monkeypatch.setenv("UFLOW_KERNELS", "on")
    inputs = [noise(*shape, seed=i) for i, shape in enumerate(CALLS[name])]
    inputs[index].flat[inputs[index].size // 2] = np.nan
    arguments = (3,) if name == "hamming_distance" else ()
    function = FUNCTIONS[name]

    @ms.jit
    def call(*tensors):
        return function(*tensors, *arguments)

    assert np.isnan(call(*(ms.Tensor(x) for x in inputs)).asnumpy()).any()


def alone(folder, code, **environment):
    """What a fresh process writes to stdout and stderr that runs `code`; variables set to None are taken out."""
    merged = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    merged = {key: value for key, value in merged.items() if value is not None}
    script = pathlib.Path(folder, "script.py")  # graph mode reads the source of what it compiles from a file
    script.write_text(textwrap.dedent(code))
    done = subprocess.run([sys.executable, script], env=merged, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout, done.stderr


EVERY_ENTRY = """
    import ctypes, hashlib
    import numpy as np
    from uflow.kernels import build
    library = ctypes.CDLL(str(build.library()))
    random = np.random.default_rng(0)
    def f(*shape):
        return random.standard_normal(shape).astype(np.float32)
    def i(*numbers):
        return np.array(numbers, np.int32)
    def call(name, inputs, *shapes):
        arrays = [*inputs, *(np.empty(shape, np.float32) for shape in shapes)]
        count = len(arrays)
        data = (ctypes.c_void_p * count)(*(a.ctypes.data for a in arrays))
        sizes = [(ctypes.c_int64 * a.ndim)(*a.shape) for a in arrays]
        dims = (ctypes.c_int * count)(*(a.ndim for a in arrays))
        places = (ctypes.c_void_p * count)(*(ctypes.addressof(size) for size in sizes))
        types = (ctypes.c_char_p * count)(*(str(a.dtype).encode() for a in arrays))
        found = hashlib.sha256()
        for _ in range(2):
            assert getattr(library, name)(count, data, dims, places, types, None, None) == 0
            for array in arrays[len(inputs):]:
                found.update(array.tobytes())
        print(name, found.hexdigest())
    for stride, height, width in ((1, 33, 24), (2, 17, 12)):
        options = i(stride, 1, 1, 1)
        x, w, b, y = f(4, 19, 33, 24), f(24, 19, 3, 3), f(24), f(4, 24, height, width)
        call("UflowConvolution", [x, w, b, options], y.shape)
        call("UflowConvolutionInputGradient", [x, w, options, y, f(*y.shape)], x.shape)
        call("UflowConvolutionWeightGradient", [x, w, options, y, f(*y.shape)], w.shape, b.shape)
    x, w, y, options = f(4, 12, 16, 20), f(12, 8, 4, 4), f(4, 8, 32, 40), i(2, 1, 1, 0)
    call("UflowTransposed", [x, w, f(8), options], y.shape)
    call("UflowTransposedInputGradient", [w, options, x, y], x.shape)
    call("UflowTransposedWeightGradient", [w, options, x, y], w.shape, (8,))
    x, y, cost = f(3, 9, 33, 24), f(3, 9, 33, 24), f(3, 81, 33, 24)
    call("UflowCostVolume", [x, y, i(4, 1)], cost.shape)
    call("UflowCostVolumeGradient", [x, y, i(4, 1), cost, f(*cost.shape)], x.shape, y.shape)
    x, y, flow = f(3, 3, 70, 60), f(3, 3, 70, 60), 5 * f(3, 2, 70, 60)
    call("UflowWarp", [x, flow], x.shape)
    call("UflowWarpImageGradient", [x, flow, y], x.shape)
    call("UflowWarpFlowGradient", [x, flow, y], flow.shape)
    call("UflowCensus", [x, y, i(7)], (3, 1, 70, 60))
    call("UflowCensusGradient", [x, y, i(7), f(3, 1, 70, 60)], x.shape)
    call("UflowRangeMap", [flow, i(1)], (3, 1, 70, 60))
    call("UflowRangeMapGradient", [flow, i(1), f(3, 1, 70, 60)], flow.shape)
"""


def test_results_are_the_same_bit_for_bit_on_every_number_of_threads(built, tmp_path):
    found = [alone(tmp_path, EVERY_ENTRY, OMP_NUM_THREADS=threads)[0] for threads in ("1", "1", "2", "5")]
    assert found[0].count("\n") == 18
    for other in found[1:]:
        assert other == found[0]


def test_two_processes_that_build_at_once_both_succeed(built, tmp_path):
    (tmp_path / "one.cc").write_text('extern "C" int one() { return 1; }')
    code = f"""
        import pathlib
        from uflow.kernels import build
        build._FOLDER = pathlib.Path({str(tmp_path)!r})
        print(build.library())
    """
    cache = tmp_path / "cache"
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()  # of the script, not of the sources
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        both = [pool.submit(alone, folder, code, UFLOW_CACHE=str(cache)) for folder in folders]
    paths = {future.result()[0] for future in both}
    assert len(paths) == 1
    assert [path.name for path in cache.iterdir()] == [os.path.basename(paths.pop().strip())]


@pytest.fixture
def small_source(tmp_path, monkeypatch):
    """A cache of its own and a library that compiles at once."""
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "one.cc").write_text('extern "C" int one() { return 1; }')
    monkeypatch.setattr(build, "_FOLDER", sources)
    monkeypatch.setenv("UFLOW_CACHE", str(tmp_path / "cache"))
    return sources / "one.cc"


def test_a_library_is_built_once_and_again_for_other_sources(built, small_source):
    first = build.library()
    stamp = first.stat().st_mtime_ns
    assert build.library() == first and first.stat().st_mtime_ns == stamp
    small_source.write_text('extern "C" int one() { return 2; }')
    assert build.library() != first


@pytest.mark.parametrize("damage", ["cut", "changed", "empty"])
def test_a_damaged_library_is_built_again(built, small_source, damage):
    path = build.library()
    whole = path.read_bytes()
    broken = {"cut": whole[: len(whole) // 2], "changed": whole[:500] + b"?" + whole[501:], "empty": b""}[damage]
    path.write_bytes(broken)
    assert build.library() == path
    assert ctypes.CDLL(str(path)).one() == 1


def test_a_failed_compilation_names_its_reason(built, small_source):
    small_source.write_text("this is no C++")
    with pytest.raises(build.BuildError, match="does not name a type|error"):
        build.library()
    assert not list(build.cache_folder().glob("*"))


@pytest.mark.parametrize("home", [None, "/", "relative"])
def test_without_a_home_the_cache_is_private_among_the_temporary_files(tmp_path, monkeypatch, home):
    for name in ("UFLOW_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    if home is not None:
        monkeypatch.setenv("HOME", home)
    monkeypatch.setattr(pwd, "getpwuid", _no_entry)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = build.cache_folder()
    assert folder == tmp_path / f"uflow-{os.getuid()}" and folder.stat().st_mode & 0o777 == 0o700
    assert build.cache_folder() == folder
    folder.chmod(0o777)
    with pytest.raises(build.BuildError, match="is not private to this user"):
        build.cache_folder()
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(build.BuildError, match="is not private to this user"):
        build.cache_folder()


def _no_entry(uid):
    raise KeyError(uid)


def test_the_cache_follows_the_base_directory_specification(tmp_path, monkeypatch):
    monkeypatch.delenv("UFLOW_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    assert build.cache_folder() == tmp_path / ".cache" / "uflow"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert build.cache_folder() == tmp_path / "x" / "uflow"


def test_a_compiler_may_have_a_wrapper(monkeypatch):
    monkeypatch.setenv("CXX", "env 'g++' -DX=1")
    assert build._compiler()[1:] == ("g++", "-DX=1") and build._compiler()[0].endswith("/env")
    for wrong in ("", "g++ 'open"):
        monkeypatch.setenv("CXX", wrong)
        with pytest.raises(build.BuildError, match="is no command"):
            build._compiler()


FALLS_BACK = """
    import logging
    logging.basicConfig()
    import numpy as np
    from uflow import backend as ms, kernels
    from uflow.ops import geometry
    ms.set_context(mode=ms.GRAPH_MODE, device_target="CPU")
    @ms.jit
    def both(x, flow):
        return geometry.warp(x, flow), geometry.warp(flow, flow)
    x = ms.Tensor(np.arange(12, dtype=np.float32).reshape(1, 1, 3, 4))
    print(both(x, ms.ops.ones((1, 2, 3, 4)))[0].asnumpy()[0, 0, 0, :3], kernels.switch.active, kernels.fingerprint())
"""


def test_without_a_compiler_the_composition_is_used_and_that_is_said_once(tmp_path):
    out, log = alone(tmp_path, FALLS_BACK, PATH="", CXX=None, UFLOW_CACHE=str(tmp_path / "c"), UFLOW_KERNELS=None)
    assert out.strip() == "[5. 6. 7.] False none"
    assert log.count("no CPU kernels") == 1 and "no C++ compiler 'g++'" in log


def test_a_study_says_once_that_its_runs_will_be_slow_unless_that_was_chosen(tmp_path):
    code = (
        "from studies.workers.cards import Card; from studies.launchers.supervisor import warn_of_kernels as warn\n"
        "for _ in range(2): warn('experiments.run', (Card('CPU'), Card('CPU')))"
    )
    cache = str(tmp_path / "c")
    _, log = alone(tmp_path, code, CXX="/nonexistent", UFLOW_CACHE=cache, UFLOW_KERNELS=None)
    assert log.count("warning: no CPU kernels, training is several times slower: ") == 1 and "/nonexistent" in log
    assert alone(tmp_path, code, CXX="/nonexistent", UFLOW_CACHE=cache, UFLOW_KERNELS="off")[1] == ""


def test_switched_off_nothing_is_built(tmp_path):
    out, log = alone(tmp_path, FALLS_BACK, UFLOW_CACHE=str(tmp_path / "c"), UFLOW_KERNELS="off")
    assert out.strip() == "[5. 6. 7.] False none"
    assert "kernels" not in log and not (tmp_path / "c").exists()


def test_switched_on_without_a_compiler_is_an_error(monkeypatch, small_source):
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("UFLOW_KERNELS", "on")
    dispatch._library.cache_clear()
    try:
        with pytest.raises(RuntimeError, match="UFLOW_KERNELS=on.*no-such-compiler"):
            _ = kernels.switch.active
        monkeypatch.setenv("UFLOW_KERNELS", "auto")
        assert not kernels.switch.active
        monkeypatch.setenv("UFLOW_KERNELS", "on")
        with pytest.raises(RuntimeError):  # also after it was asked without insisting
            _ = kernels.switch.active
    finally:
        dispatch._library.cache_clear()


def test_an_unknown_mode_lists_the_possible_ones(monkeypatch):
    monkeypatch.setenv("UFLOW_KERNELS", "fast")
    with pytest.raises(ValueError, match="'fast'; possible: auto, on, off"):
        kernels.mode()


def test_importing_the_kernels_loads_and_builds_nothing(tmp_path):
    code = "import sys, uflow.kernels, uflow.ops.geometry; print('mindspore' in sys.modules)"
    assert alone(tmp_path, code, UFLOW_CACHE=str(tmp_path / "c"))[0].strip() == "False"
    assert not (tmp_path / "c").exists()


def test_only_float32_is_taken(built, monkeypatch):
    monkeypatch.setenv("UFLOW_KERNELS", "on")
    x = ms.Tensor(noise(1, 1, 3, 4))
    assert kernels.usable(x) and not kernels.usable(x.astype(ms.float16)) and not kernels.usable(x.astype(ms.float64))


def test_wrong_arguments_raise_instead_of_crashing(built):
    switch = kernels.switch
    image, wider, flow = (ms.Tensor(noise(*shape)) for shape in [(1, 1, 3, 4), (1, 1, 3, 5), (1, 2, 3, 5)])
    with pytest.raises(RuntimeError):
        switch.warp(image, flow).asnumpy()
    with pytest.raises(RuntimeError):
        switch.cost_volume_4_1(image, wider, switch.options_4_1).asnumpy()


CACHED = """
    import numpy as np
    from uflow import backend as ms
    from uflow.ops import geometry
    ms.set_context(mode=ms.GRAPH_MODE, device_target="CPU", enable_compile_cache=True, compile_cache_path="graphs")
    class Net(ms.nn.Cell):
        def construct(self, x, w, b, flow):
            y = geometry.convolution(x, w, b, leaky_relu=True)
            return (geometry.cost_volume(y, geometry.warp(y, flow), 4, True) ** 2).sum()
    ramp = np.linspace(-1, 1, 2000, dtype=np.float32)
    inputs = [ms.Tensor(np.resize(ramp, s)) for s in [(1, 3, 8, 9), (4, 3, 3, 3), (4,), (1, 2, 8, 9)]]
    step = ms.value_and_grad(Net(), (0, 1, 2, 3))
    class Step(ms.nn.Cell):
        def __init__(self):
            super().__init__()
            self.step = step
        def construct(self, *a):
            return self.step(*a)
    value, found = Step()(*inputs)
    print(value, *(float(abs(x.asnumpy()).sum()) for x in found))
"""


def test_compiled_graphs_with_kernels_can_be_cached(built, tmp_path):
    first, second = (alone(tmp_path, CACHED, UFLOW_KERNELS="on")[0] for _ in range(2))
    assert list((tmp_path / "graphs").rglob("*.mindir"))
    assert first == second != ""
