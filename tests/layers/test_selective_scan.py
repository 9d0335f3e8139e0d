# ruff: noqa: N803, N806  (A, B, C, D are the letters of the recurrence)
import logging
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from unmingle.errors import ConfigError
from unmingle.layers import selective_scan as room
from unmingle.layers.selective_scan import describe_backends, operator, plain, selective_scan

VECTORS = load_file(Path(__file__).parents[1] / "vectors" / "selective_scan.safetensors")
CASES = sorted({key.split("/")[0] for key in VECTORS})
INTERPRETING = os.environ.get("TRITON_INTERPRET") == "1"  # as in a process that test_triton_scan.py starts
HERE = ["plain", "stepwise", "compiled"] + ["triton"] * INTERPRETING


def drawn(n=2, d=5, length=9, states=3, dtype=torch.float32):
    """Arguments of the core, (n, L, d)."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    delta, A = F.softplus(normal(n, length, d)), -normal(d, states).exp()
    return [normal(n, length, d), delta, A, normal(n, length, states), normal(n, length, states)]


@pytest.fixture(params=HERE)
def backend(request, monkeypatch):
    if request.param == "compiled":
        pytest.importorskip("numba")
    if request.param == "triton":
        monkeypatch.setitem(room._DEVICES, "triton", "cpu")
    return request.param


@pytest.mark.parametrize("case", CASES)
def test_the_published_scan_is_reproduced(case, backend):
    for dtype in [torch.float32] if backend in room._DEVICES else [torch.float32, torch.float64]:
        check_vector(case, dtype, backend)


def check_vector(case, dtype, backend):
    vector = {key.split("/")[1]: value.to(dtype) for key, value in VECTORS.items() if key.startswith(f"{case}/")}
    output, last_state = vector.pop("output"), vector.pop("last_state")
    result = selective_scan(**vector, delta_softplus=True, backend=backend)
    tolerance = 1e-4 if dtype == torch.float32 else 2e-5
    torch.testing.assert_close(result.output, output, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(result.last_state, last_state, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (2, 5, 9, 3), (3, 40, 70, 16), (2, 33, 65, 6)], ids=str)
def test_every_back_end_gives_the_values_and_gradients_of_the_plain_recurrence(sizes, backend):
    names = ("u", "delta", "A", "B", "C")
    arguments = [value.requires_grad_() for value in drawn(*sizes)]
    dy, dlast = torch.randn_like(arguments[0]), torch.randn(sizes[0], *arguments[2].shape)

    def run(scan):
        results = scan(*arguments)
        return results, torch.autograd.grad(results, arguments, (dy, dlast))

    (y, last), gradients = run(lambda *core: core_scan(core, backend))
    (y_plain, last_plain), gradients_plain = run(plain.scan)
    torch.testing.assert_close(y, y_plain, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(last, last_plain, rtol=1e-5, atol=1e-5)
    for name, gradient, expected in zip(names, gradients, gradients_plain, strict=True):
        assert (gradient - expected).abs().max() <= 1e-5 * expected.abs().max() + 1e-8, name


def core_scan(core, backend):
    u, delta, A, B, C = core
    result = selective_scan(u.mT, delta.mT, A, B.mT, C.mT, backend=backend)
    return result.output.mT, result.last_state


@pytest.mark.parametrize("length", [3, 7])
def test_the_gradient_over_several_chunks_is_the_derivative(length, monkeypatch):
    monkeypatch.setattr(operator, "CHUNK", 3)
    arguments = [value.requires_grad_() for value in drawn(2, 2, length, 2, torch.float64)]
    assert torch.autograd.gradcheck(lambda *core: operator.scan(*core, backend="stepwise"), arguments)


def test_training_keeps_the_inputs_and_a_state_for_every_chunk_only():
    arguments = [value.requires_grad_() for value in drawn(2, 8, 320, 16)]
    kept = []

    def pack(value):
        kept.append(value.numel())
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        core_scan(arguments, "stepwise")
    inputs, states = sum(value.numel() for value in arguments), 2 * 8 * 16 * 320 // operator.CHUNK
    assert sum(kept) == inputs + states
    assert states < 2 * 8 * 320


def test_several_threads_give_what_one_gives(monkeypatch):
    compiled = pytest.importorskip("unmingle.layers.selective_scan.compiled")
    arguments = drawn(5, 3, 8, 2)
    alone = compiled.forward(*arguments, 8)
    monkeypatch.setattr(compiled, "_LEAST_WORK", 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    for one, shared in zip(alone, compiled.forward(*arguments, 8), strict=True):
        assert torch.equal(one, shared)


def test_decays_that_underflow_and_steps_of_nan_stay_what_they_are(backend):
    u, delta, A, B, C = drawn(1, 2, 4, 2)
    delta[0, 2], u[0, 3, 0] = 1e6, float("nan")
    y, _ = core_scan([u, delta, A, B, C], backend)
    expected, _ = plain.scan(u, delta, A, B, C)
    torch.testing.assert_close(y, expected, equal_nan=True)
    assert y[0, 3, 0].isnan()
    assert y[0, 3, 1].isfinite()


def test_it_computes_in_float32_inside_autocast(backend):
    arguments = [value.bfloat16() for value in drawn()]
    with torch.autocast("cpu", torch.bfloat16):
        y, last = core_scan(arguments, backend)
    assert y.dtype == last.dtype == torch.float32
    expected, _ = plain.scan(*(value.float() for value in arguments))
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)


def test_the_gate_the_bias_and_the_way_around_are_the_formula(backend):
    u, delta, A, B, C = (value.mT if value.ndim == 3 else value for value in drawn())
    D, bias, z = torch.randn(5), torch.randn(5), torch.randn_like(u)
    options = {"z": z, "delta_bias": bias, "delta_softplus": True, "backend": backend}
    step = F.softplus(delta + bias.unsqueeze(-1))
    expected = (plain.scan(u.mT, step.mT, A, B.mT, C.mT)[0].mT + D.unsqueeze(-1) * u) * F.silu(z)
    torch.testing.assert_close(selective_scan(u, delta, A, B, C, D, **options).output, expected)


def test_the_kernel_of_mamba_ssm_gets_its_own_layout(monkeypatch):
    def kernel(u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False, return_last_state=False):
        assert return_last_state
        assert all(value.is_contiguous() and value.dtype == torch.float32 for value in (u, delta, A, B, C, D, z))
        return tuple(
            selective_scan(
                u, delta, A, B, C, D, z=z, delta_bias=delta_bias, delta_softplus=delta_softplus, backend="plain"
            )
        )

    interface = ModuleType("mamba_ssm.ops.selective_scan_interface")
    interface.selective_scan_fn = kernel
    for name in ("mamba_ssm", "mamba_ssm.ops"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, interface.__name__, interface)
    monkeypatch.setattr(room, "_checked", lambda backend, u: backend)
    vector = {key.split("/")[1]: value for key, value in VECTORS.items() if key.startswith("L7/")}
    output = vector.pop("output")
    vector.pop("last_state")
    vector = {key: value.mT.contiguous().mT if value.ndim == 3 else value for key, value in vector.items()}
    result = selective_scan(**vector, delta_softplus=True, backend="mamba_ssm")
    torch.testing.assert_close(result.output, output, rtol=1e-4, atol=1e-4)


def test_back_ends_that_do_not_exist_or_cannot_run_are_refused_in_words():
    u, delta, A, B, C = (value.mT if value.ndim == 3 else value for value in drawn())
    for name, message in [("complied", "did you mean 'compiled'"), ("mamba_ssm", "mamba_ssm, which cannot be")]:
        with pytest.raises(ConfigError, match=message):
            selective_scan(u, delta, A, B, C, backend=name)
    pytest.importorskip("numba")
    with pytest.raises(ConfigError, match=r"wants float32 on cpu; got torch.float64"):
        selective_scan(u.double(), delta, A, B, C, backend="compiled")


def test_without_numba_it_says_so_once_and_works(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "numba", None)
    room._is_there.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                assert room.choose_backend(torch.empty(0)) == "stepwise"
        assert describe_backends().startswith("stepwise on cpu")
        assert "numba would bring compiled on cpu" in describe_backends()
    finally:
        room._is_there.cache_clear()
    assert len(caplog.records) == 1
    assert "pip install 'unmingle[fast]'" in caplog.text


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without CUDA")
def test_nobody_without_a_gpu_is_told_to_install_what_needs_one():
    assert not set(describe_backends().split()) & {"triton", "mamba_ssm", "cuda", "traced"}


@pytest.mark.slow  # torch compiles the step first
def test_the_form_for_exported_graphs_gives_what_the_others_give():
    core = drawn()
    found, expected = core_scan(core, "traced"), plain.scan(*core)
    for one, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(one, wanted, rtol=1e-5, atol=1e-5)


def test_exporting_takes_the_form_for_graphs_which_nothing_else_does(monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    assert room.choose_backend(torch.empty(0)) == "traced"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["stepwise", "triton", "mamba_ssm"])
def test_a_device_gives_the_values_and_gradients_of_the_plain_recurrence(name):
    if not room._is_there(name):
        pytest.skip(f"{name} is not installed")
    for sizes in [(2, 5, 9, 3), (3, 130, 70, 16)]:
        arguments = [value.cuda().requires_grad_() for value in drawn(*sizes)]
        y, expected = core_scan(arguments, name)[0], plain.scan(*arguments)[0]
        torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-4)
        dy = torch.randn_like(y)
        gradients = (torch.autograd.grad(result, arguments, dy) for result in (y, expected))
        for gradient, wanted in zip(*gradients, strict=True):
            assert (gradient - wanted).abs().max() <= 1e-4 * wanted.abs().max()
