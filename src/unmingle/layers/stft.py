"""Short-time Fourier transform and its inverse: plain functions, and the same as convolutions for exported graphs.

Both pad by reflection so that frame t is centred on sample t * hop, weigh with a periodic Hann window, keep the bins
from 0 to half the sample rate, and scale nothing:

    frames = 1 + floor(time / hop)        bins = window // 2 + 1        window even, time > window / 2

Letters: B batch, T frames, F bins. Planes are the real and the imaginary part, in this order, on an axis before T.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unmingle.errors import ShapeError


def stft(signal: Tensor, *, window: int, hop: int) -> Tensor:
    """Complex spectrum of a signal.

    Args:
        signal: (..., time), more than window / 2 samples.
        window: length of a frame in samples, even.
        hop: samples between two frames.
    Returns:
        (..., T, F), complex.
    Raises:
        ShapeError: the signal is too short to be reflected.
    """
    _check_length(signal.shape[-1], window)
    flat = signal.reshape(-1, 1, signal.shape[-1])
    padded = F.pad(flat, (window // 2, window // 2), mode="reflect").squeeze(1)
    frames = padded.unfold(-1, window, hop) * hann(window, like=signal)  # (B, T, window)
    return torch.fft.rfft(frames).unflatten(0, signal.shape[:-1]) if signal.ndim != 2 else torch.fft.rfft(frames)


def istft(spectrum: Tensor, *, window: int, hop: int, length: int) -> Tensor:
    """Signal of a spectrum: windowed frames added up, over the sum of the squared windows.

    The imaginary parts of the lowest and the highest bin act on nothing. Samples that no window covers are zero.

    Args:
        spectrum: (..., T, F), complex.
        window: length of a frame in samples, even.
        hop: samples between two frames.
        length: samples wanted.
    Returns:
        (..., length).
    """
    shape = hann(window, like=spectrum.real)
    frames = torch.fft.irfft(spectrum, n=window) * shape  # (..., T, window)
    n_frames = frames.shape[-2]
    summed = overlap_add(frames.reshape(-1, n_frames, window), hop)
    envelope = overlap_add(shape.square().expand(1, n_frames, window), hop)
    signal = divide(summed, envelope)
    return _centre(signal, window, length).reshape(*spectrum.shape[:-2], length)


def to_planes(spectrum: Tensor) -> Tensor:
    """(..., T, F) complex -> (..., 2, T, F) real."""
    return torch.stack([spectrum.real, spectrum.imag], dim=-3)


def from_planes(planes: Tensor) -> Tensor:
    """(..., 2, T, F) real -> (..., T, F) complex."""
    real, imaginary = planes.unbind(-3)
    return torch.complex(real, imaginary)


def hann(window: int, *, like: Tensor) -> Tensor:
    """Periodic Hann window, (window,), of the type and on the device of another tensor."""
    return torch.hann_window(window, dtype=like.dtype, device=like.device)


def masked(planes: Tensor, mask: Tensor) -> Tensor:
    """Product of complex numbers: (B, 2, T, F) planes and (B, S, 2, T, F) masks -> (B, S, 2, T, F)."""
    real, imaginary = planes.unsqueeze(1).unbind(2)
    mask_real, mask_imaginary = mask.unbind(2)
    return torch.stack(
        [real * mask_real - imaginary * mask_imaginary, real * mask_imaginary + imaginary * mask_real], dim=2
    )


def without_offset(planes: Tensor) -> Tensor:
    """Planes without what a constant signal looks like: (1, -1/2) in the real parts of the two lowest bins.

    That is the Hann window's own spectrum, so a constant signal vanishes, which it would not if the lowest bin alone
    were set to zero: a third of it would stay.
    """
    lowest, second = planes[..., :1, :, 0], planes[..., :1, :, 1]
    offset = (lowest - second) / 1.5  # the second bin counts twice, for its mirror image
    correction = torch.stack([-offset, offset / 2], dim=-1)  # (..., 1, T, 2)
    return planes + F.pad(correction, (0, planes.shape[-1] - 2, 0, 0, 0, 1))


class STFT(nn.Module):
    """A pair of transforms between signals and planes; while a graph is exported, in their convolutional form."""

    def __init__(self, window: int, hop: int) -> None:
        super().__init__()
        self.window = window
        self.hop = hop
        self.convolutional = ConvSTFT(window, hop)

    def forward(self, signal: Tensor) -> Tensor:
        """(B, time) -> (B, 2, T, F)."""
        if torch.compiler.is_exporting():
            return self.convolutional(signal)
        return to_planes(stft(signal, window=self.window, hop=self.hop))

    def inverse(self, planes: Tensor, length: int) -> Tensor:
        """(B, 2, T, F) -> (B, length)."""
        if torch.compiler.is_exporting():
            return self.convolutional.inverse(planes, length)
        return istft(from_planes(planes), window=self.window, hop=self.hop, length=length)


class ConvSTFT(nn.Module):
    """Both transforms in real arithmetic: one convolution, and one transposed convolution over an envelope."""

    analysis: Tensor
    synthesis: Tensor
    envelope: Tensor

    def __init__(self, window: int, hop: int) -> None:
        super().__init__()
        self.window = window
        self.hop = hop
        n_bins = window // 2 + 1
        sample = torch.arange(window, dtype=torch.float64)
        # The phase counts whole turns first: the cosine of a large angle would cost digits.
        turns = torch.outer(torch.arange(n_bins, dtype=torch.float64), sample).remainder(window)
        angles = turns * (2 * math.pi / window)
        waves = torch.cat([angles.cos(), -angles.sin()]) * torch.hann_window(window, dtype=torch.float64)
        once_or_twice = torch.full((n_bins, 1), 2.0, dtype=torch.float64)  # bins that stand for their mirror image too
        once_or_twice[[0, -1]] = 1.0
        backwards = waves * once_or_twice.repeat(2, 1) / window
        squares = torch.hann_window(window, dtype=torch.float64).square()
        self.register_buffer("analysis", waves.unsqueeze(1).float(), persistent=False)  # (2F, 1, window)
        self.register_buffer("synthesis", backwards.unsqueeze(1).float(), persistent=False)  # (2F, 1, window)
        self.register_buffer("envelope", squares.view(1, 1, -1).float(), persistent=False)

    def forward(self, signal: Tensor) -> Tensor:
        """(B, time) -> (B, 2, T, F)."""
        padded = F.pad(signal.unsqueeze(1), (self.window // 2, self.window // 2), mode="reflect")
        planes = F.conv1d(padded, self.analysis, stride=self.hop)  # (B, 2F, T)
        return planes.unflatten(1, (2, -1)).transpose(2, 3)

    def inverse(self, planes: Tensor, length: int) -> Tensor:
        """(B, 2, T, F) -> (B, length)."""
        frames = planes.transpose(2, 3).flatten(1, 2)  # (B, 2F, T)
        summed = F.conv_transpose1d(frames, self.synthesis, stride=self.hop)
        envelope = F.conv_transpose1d(torch.ones_like(frames[:1, :1]), self.envelope, stride=self.hop)
        return _centre(divide(summed, envelope).squeeze(1), self.window, length)

    def planes(self, frames: Tensor) -> Tensor:
        """Frames of samples that are cut out already, (B, T, window) -> (B, 2, T, F)."""
        return (frames @ self.analysis.squeeze(1).T).unflatten(2, (2, -1)).transpose(1, 2)

    def frames(self, planes: Tensor) -> Tensor:
        """Planes (..., 2, T, F) -> windowed frames of samples, (..., T, window), to be added up."""
        return planes.transpose(-3, -2).flatten(-2) @ self.synthesis.squeeze(1)


def _check_length(time: int, window: int) -> None:
    if time <= window // 2:
        raise ShapeError(
            f"a signal of {time} samples is too short for a window of {window}, which reflects {window // 2} samples "
            f"at either end; pad it to {window // 2 + 1}"
        )


def overlap_add(frames: Tensor, hop: int) -> Tensor:
    """Add up frames that begin a hop apart: (B, T, window) -> (B, (T - 1) * hop + window)."""
    n_frames, window = frames.shape[1:]
    size = (1, (n_frames - 1) * hop + window)
    return F.fold(frames.transpose(1, 2), size, kernel_size=(1, window), stride=(1, hop)).flatten(1)


def divide(summed: Tensor, envelope: Tensor) -> Tensor:
    """Undo the squared windows; samples that no window covers, such as the first under a Hann window, are zero."""
    covered = envelope > 1e-11
    return torch.where(covered, summed / torch.where(covered, envelope, 1.0), 0.0)


def _centre(signal: Tensor, window: int, length: int) -> Tensor:
    start = window // 2
    missing = max(0, start + length - signal.shape[-1])
    return F.pad(signal, (0, missing))[..., start : start + length]
