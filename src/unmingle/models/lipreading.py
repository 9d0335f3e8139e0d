"""Lip reading: one embedding per video frame from crops of the speaker's mouth.

The visual front end of IIANet and its relatives: a 3-D convolution over time and space, then a ResNet-18 on each frame
by itself. Stafylakis and Tzimiropoulos, "Combining residual networks with LSTMs for lipreading", Interspeech 2017,
arXiv:1703.04105. The temporal network behind it, which names the word, is not implemented: separation leaves it out.
Letters: B batch, C channels, F video frames, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from unmingle.errors import ShapeError, SignalError
from unmingle.presets.iianet import LipReadingConfig

MEAN, DEVIATION = 0.421, 0.165  # of gray levels from 0 to 1, as the lip-reading task has them


def prepare_crops(crops: Tensor, *, size: int = 88) -> Tensor:
    """Gray mouth crops as a lip reader wants them: cut to the centre, brought to zero mean and unit deviation.

    Args:
        crops: (B, F, H, W), gray levels from 0 to 255, of any number type; usually 96 x 96.
        size: height and width to keep; `config.lips.crop` of a network.

    Returns:
        (B, F, size, size), float32, or as many bits as came.

    Raises:
        ShapeError: another rank, or crops smaller than `size`.
    """
    if crops.ndim != 4 or min(crops.shape[2:]) < size:
        raise ShapeError(
            f"crops have shape {tuple(crops.shape)}; wanted (batch, frames, height, width) of at least {size} x {size}"
        )
    top, left = ((side - size) // 2 for side in crops.shape[2:])
    centre = crops[..., top : top + size, left : left + size]
    levels = (centre if centre.is_floating_point() else centre.float()) / 255
    return (levels - MEAN) / DEVIATION


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions around a shortcut, which is a 1 x 1 convolution where the shape changes."""

    def __init__(self, channels_in: int, channels: int, stride: int, activation: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.act1 = activation(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.act2 = activation(channels)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels_in != channels:
            self.shortcut.append(nn.Conv2d(channels_in, channels, 1, stride, bias=False))
            self.shortcut.append(nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C, H / stride, W / stride)."""
        y = self.act1(self.norm1(self.conv1(x)))
        return self.act2(self.norm2(self.conv2(y)) + self.shortcut(x))


class LipReading(nn.Module):
    """Mouth crops -> 3-D convolution -> residual trunk -> mean over the picture."""

    def __init__(self, config: LipReadingConfig) -> None:
        super().__init__()
        self.config = config
        activation = nn.PReLU if config.activation == "prelu" else _relu
        self.stem = nn.Sequential(
            nn.Conv3d(1, config.stem, (5, 7, 7), (1, 2, 2), padding=(2, 3, 3), bias=False),
            nn.BatchNorm3d(config.stem),
            activation(config.stem),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), padding=(0, 1, 1)),
        )
        self.trunk = nn.Sequential()
        for stage, (before, width) in enumerate(pairwise((config.stem, *config.widths))):
            blocks = [ResidualBlock(before, width, 1 if stage == 0 else 2, activation)]
            blocks += [ResidualBlock(width, width, 1, activation) for _ in range(config.blocks[stage] - 1)]
            self.trunk.append(nn.Sequential(*blocks))
        self.requires_grad_(config.learns == "everything")

    def train(self, mode: bool = True) -> LipReading:
        """Training mode, unless it learns nothing: then it stays in evaluation mode whatever happens around it."""
        return super().train(mode and self.config.learns != "nothing")

    def forward(self, video: Tensor) -> Tensor:
        """Embed mouth crops, (B, F, crop, crop) as `prepare_crops` makes them -> (B, C, F).

        Raises:
            ShapeError: another rank, no frames, or crops of another size.
            SignalError: not floating point.
        """
        size = self.config.crop
        if video.ndim != 4 or 0 in video.shape or tuple(video.shape[2:]) != (size, size):
            raise ShapeError(
                f"video has shape {tuple(video.shape)}; this lip reader wants (batch, frames, {size}, {size}) mouth "
                "crops with at least one frame; cut them with prepare_crops"
            )
        if not video.is_floating_point():
            raise SignalError(f"video holds {video.dtype}, but gray levels are brought to floats by prepare_crops")
        return self.embed(video)

    def embed(self, video: Tensor) -> Tensor:
        """`forward` for crops of any size, (B, F, H, W) -> (B, C, F)."""
        features = self.stem(video.unsqueeze(1)).transpose(1, 2)  # (B, F, stem, H / 4, W / 4)
        maps = self.trunk(features.flatten(0, 1))  # (B F, C, H / 32, W / 32): every frame by itself
        return maps.mean(dim=(2, 3)).unflatten(0, features.shape[:2]).transpose(1, 2)

    def example_inputs(self, seconds: float, *, frame_rate: int = 25) -> tuple[Tensor]:
        """Noise of a length, for measuring: (1, F, crop, crop)."""
        n_frames = max(1, round(seconds * frame_rate))
        return (torch.randn(1, n_frames, self.config.crop, self.config.crop),)


def _relu(channels: int) -> nn.Module:
    del channels  # one function for all
    return nn.ReLU()
