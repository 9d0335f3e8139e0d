import numpy as np
import pytest
import torch

from unmingle.errors import ConfigError, SampleRateError, ShapeError, SignalError
from unmingle.inference.arrays import separate
from unmingle.inference.handle import load_model
from unmingle.inference.report import SeparationOptions

RATE = 8000


@pytest.fixture(scope="module")
def model(tiny):
    return load_model(tiny)


@pytest.fixture
def mixture(voices):
    return voices[:2, : 2 * RATE].sum(axis=0)


def test_an_array_gives_an_array(model, mixture):
    estimates = separate(model, mixture, sample_rate=RATE)
    assert isinstance(estimates, np.ndarray)
    assert (estimates.shape, estimates.dtype) == ((2, 2 * RATE), np.float32)
    np.testing.assert_allclose(estimates.sum(axis=0), mixture, atol=1e-6)


def test_a_tensor_gives_a_tensor(model, mixture):
    estimates = separate(model, torch.from_numpy(mixture).double().requires_grad_(), sample_rate=RATE)
    assert isinstance(estimates, torch.Tensor)
    assert (estimates.dtype, estimates.requires_grad) == (torch.float32, False)
    np.testing.assert_allclose(estimates.numpy(), separate(model, mixture, sample_rate=RATE), atol=1e-6)


@pytest.mark.gpu
def test_a_tensor_on_a_gpu_comes_back_to_it(tiny, model, mixture):
    there = torch.from_numpy(mixture).cuda()
    estimates = separate(load_model(tiny, device="cuda"), there, sample_rate=RATE)
    assert estimates.device == there.device
    np.testing.assert_allclose(estimates.cpu().numpy(), separate(model, mixture, sample_rate=RATE), atol=1e-3)


def test_an_utterance_ignores_its_neighbours(model, voices):
    batch = voices[:, :RATE]
    together = separate(model, batch, sample_rate=RATE)
    assert together.shape == (3, 2, RATE)
    for one, estimates in zip(batch, together, strict=True):
        np.testing.assert_allclose(separate(model, one, sample_rate=RATE), estimates, atol=1e-6)


def test_a_model_is_given_by_path_as_well(tiny, model, mixture):
    np.testing.assert_array_equal(separate(tiny, mixture, sample_rate=RATE), separate(model, mixture, sample_rate=RATE))


@pytest.mark.parametrize("rate", [4000, 11_025, 48_000])
def test_the_rate_and_the_length_come_back(model, rate):
    mixture = (0.1 * np.random.default_rng(0).standard_normal(rate + 1)).astype(np.float32)
    estimates = separate(model, mixture, sample_rate=rate)
    assert estimates.shape == (2, rate + 1)
    np.testing.assert_allclose(estimates.sum(axis=0), mixture, atol=1e-6)


def test_the_level_of_the_mixture_is_that_of_the_tracks(model, mixture):
    quiet = separate(model, mixture * 1e-3, sample_rate=RATE)
    np.testing.assert_allclose(quiet * 1e3, separate(model, mixture, sample_rate=RATE), atol=1e-4)


def test_silence_gives_silence(model):
    assert not separate(model, np.zeros((2, RATE), np.float32), sample_rate=RATE).any()


def test_a_long_array_goes_through_windows(oracle, voices):
    model = oracle(voices[:2], leak=0.0)
    ten = SeparationOptions(window_seconds=10.0)
    estimates = separate(model, voices[:2].sum(axis=0), sample_rate=RATE, options=ten)
    assert len(model.engine.windows) >= 4
    order = np.argmax(voices[:2] @ estimates.T, axis=1)
    np.testing.assert_allclose(estimates[order], voices[:2], atol=0.01)


def test_the_residual_is_the_last_source(model, mixture):
    estimates = separate(model, mixture, sample_rate=RATE, options=SeparationOptions(keep_residual=True))
    assert estimates.shape == (3, 2 * RATE)
    np.testing.assert_allclose(estimates.sum(axis=0), mixture, atol=1e-6)


@pytest.mark.parametrize(
    ("mixture", "message"),
    [
        ([0.1, 0.2], "is a list"),
        (np.zeros(RATE, np.int16), "int16"),
        (torch.zeros(RATE, dtype=torch.int16), "int16"),
        (np.zeros((1, 2, RATE)), r"\(1, 2, 8000\)"),
        (np.zeros((0, RATE)), r"\(0, 8000\)"),
        (np.zeros((RATE, 2)), r"looks like \(time, channels\)"),
        (np.float32(1.0), "float32"),
    ],
)
def test_other_shapes_and_kinds_are_refused_with_advice(model, mixture, message):
    with pytest.raises(ShapeError, match=message):
        separate(model, mixture, sample_rate=RATE)


@pytest.mark.parametrize("rate", [np.int64(RATE), float(RATE)])
def test_a_rate_may_be_any_kind_of_whole_number(model, mixture, rate):
    louder = separate(model, mixture, sample_rate=rate, options=SeparationOptions(loudness_lufs=-20.0))
    assert louder.shape == (2, len(mixture))


def test_bad_samples_and_rates_are_refused(model, mixture):
    broken = mixture.copy()
    broken[100] = np.nan
    with pytest.raises(SignalError, match="not numbers"):
        separate(model, broken, sample_rate=RATE)
    with pytest.raises(SignalError, match="no samples"):
        separate(model, mixture[:0], sample_rate=RATE)
    with pytest.raises(SignalError, match="5 ms"):
        separate(model, mixture[:40], sample_rate=RATE)
    with pytest.raises(SampleRateError, match="1000000 Hz"):
        separate(model, mixture, sample_rate=1_000_000)


@pytest.mark.parametrize("options", [{"n_speakers": "auto"}, {"n_speakers": 4}, {"enroll": (("anna", "anna.wav"),)}])
def test_a_batch_whose_mixtures_may_hold_more_or_fewer_voices_is_refused(model, voices, options):
    with pytest.raises(ConfigError, match="one at a time"):
        separate(model, voices[:, :RATE], sample_rate=RATE, options=SeparationOptions(**options))
