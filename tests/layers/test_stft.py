import pytest
import torch

from unmingle.errors import ShapeError
from unmingle.layers.stft import STFT, ConvSTFT, from_planes, istft, stft, to_planes, without_offset

SIZES = [(64, 16, 800), (64, 16, 777), (48, 24, 300), (32, 8, 17), (128, 32, 65)]


def torch_stft(signal, window, hop):
    shape = torch.hann_window(window, dtype=signal.dtype)
    return torch.stft(signal, window, hop, window=shape, center=True, pad_mode="reflect", return_complex=True).mT


@pytest.mark.parametrize(("window", "hop", "time"), SIZES)
def test_the_spectrum_is_torchs_own(window, hop, time):
    signal = torch.randn(2, time, dtype=torch.float64)
    spectrum = stft(signal, window=window, hop=hop)
    assert spectrum.shape == (2, 1 + time // hop, window // 2 + 1)
    torch.testing.assert_close(spectrum, torch_stft(signal, window, hop), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("window", "hop", "time"), SIZES)
def test_the_inverse_gives_back_the_signal_at_any_length(window, hop, time):
    signal = torch.randn(2, 3, time, dtype=torch.float64)
    back = istft(stft(signal, window=window, hop=hop), window=window, hop=hop, length=time)
    torch.testing.assert_close(back, signal, rtol=0, atol=1e-12)


def test_the_inverse_of_any_spectrum_is_torchs_own_which_ignores_the_outer_imaginary_parts():
    spectrum = torch.randn(2, 21, 33, dtype=torch.complex128)
    shape = torch.hann_window(64, dtype=torch.float64)
    theirs = torch.istft(spectrum.mT, 64, 16, window=shape, length=317)
    torch.testing.assert_close(istft(spectrum, window=64, hop=16, length=317), theirs, rtol=0, atol=1e-12)
    spectrum.imag[..., [0, -1]] = 0
    torch.testing.assert_close(istft(spectrum, window=64, hop=16, length=317), theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("window", "hop", "time"), SIZES)
def test_the_convolutional_form_computes_the_same(window, hop, time):
    signal = torch.randn(2, time)
    convolutional = ConvSTFT(window, hop)
    planes = convolutional(signal)
    torch.testing.assert_close(planes, to_planes(stft(signal, window=window, hop=hop)), rtol=1e-5, atol=3e-5)
    planes = torch.randn_like(planes)
    expected = istft(from_planes(planes), window=window, hop=hop, length=time)
    torch.testing.assert_close(convolutional.inverse(planes, time), expected, rtol=1e-4, atol=1e-4)


def test_samples_under_no_window_are_silent_instead_of_infinite():
    signal = istft(torch.randn(1, 4, 17, dtype=torch.complex64), window=32, hop=32, length=100)
    assert signal.isfinite().all()
    assert signal[0, 16] == 0  # the window begins with a zero, and the next one begins where it ends


def test_a_signal_that_cannot_be_reflected_is_refused_with_the_least_length():
    with pytest.raises(ShapeError, match=r"32 samples .* pad it to 33"):
        stft(torch.zeros(1, 32), window=64, hop=16)


def test_exporting_takes_the_convolutional_form(monkeypatch):
    model, signal = STFT(32, 8), torch.randn(1, 100)
    planes = model(signal)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    monkeypatch.delattr(torch, "fft")
    torch.testing.assert_close(model(signal), planes, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model.inverse(planes, 100), signal, rtol=1e-4, atol=1e-4)
    assert not model.state_dict()


def test_a_constant_signal_has_no_offset_left_and_a_tone_keeps_its_own():
    time = torch.arange(400, dtype=torch.float64)
    tone = torch.sin(2 * torch.pi * time / 4)
    transform = STFT(32, 8)
    cleaned = transform.inverse(without_offset(transform((tone + 0.3).unsqueeze(0))), 400)
    torch.testing.assert_close(cleaned[0, 32:-32], tone[32:-32], rtol=0, atol=1e-6)
