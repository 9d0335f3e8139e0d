"""IIANet: an intra- and inter-modality attention network. Li, Yang, Sun, Hu, ICML 2024, arXiv:2308.08143.

Implements the network of the public code, IIANet (16 cycles) and IIANet-fast (10), which gives the voice of one face:

    mixture -> encoder -------------> a -+                          +-> mask -> decoder -> estimates
    video -> lip reader -> projection -> v -+-> cycles, one weight -+

    one cycle          audio, (B, C_a, T)                    video, (B, C_v, F)
    InterA-B           a = PReLU(dw(a + first a))            v = ReLU(dw(v + first v))     from the second cycle on
    bottom-up          A_0 ... A_{S-1}, g_a = sum pool(A_i)  V_0 ... V_{S-1}, g_v = sum pool(V_i)
    InterA-T           g_a, g_v gate each other, then a small network on each
    global IntraA      A_i <- IntraA_1(A_i, g_a)             V_i <- IntraA_1(V_i, g_v)
    InterA-M           A_i <- A_i + A_i * sigmoid(cn(V_i))
    local IntraA       fine by coarse, down to A_0           fine by coarse, down to V_0

Only the first `n_fusion` cycles have the right column; the others are for audio alone. Audio and video are never
brought to one rate: the three fusions stretch one onto the other by the nearest frame. Where the paper draws something
else, this follows the code (docs/decisions/0012). Not implemented: an InterA-B across modalities, which nobody trained.
Letters: B batch, N basis signals, C_a, C_v channels, H_a, H_v inside a cycle, T audio frames, T_k at scale k, F video
frames, F_k at scale k, S depth, M sources.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unmingle.errors import ShapeError, SignalError
from unmingle.layers.attention import ConvFeedForward, DropPath, TopDownAttention, pool_sum
from unmingle.layers.conv import ConvNorm, Depthwise, OverlapAdd, nearest, pad_windows, pointwise
from unmingle.layers.norm import GlobalLayerNorm
from unmingle.models.base import AudioVisualModel, check_frames, check_mixture
from unmingle.models.lipreading import LipReading
from unmingle.presets.iianet import IIANetConfig

IntraA = TopDownAttention  # the paper's name for it: cn(fine) * up(sigmoid(cn(coarse))) + up(cn(coarse))


def dense(channels_in: int, channels: int, kernel: int, *, bias: bool = False) -> ConvNorm:
    """A convolution that sees every channel, then gLN; keeps the length."""
    return ConvNorm(nn.Conv1d(channels_in, channels, kernel, padding=kernel // 2, bias=bias), channels)


class BottomUp(nn.Module):
    """Features at S time resolutions, each half of the one before."""

    def __init__(self, channels: int, hidden: int, depth: int, *, kernel: int, activation: nn.Module) -> None:
        super().__init__()
        self.expand = ConvNorm(pointwise(channels, hidden), hidden)
        self.activation = activation
        self.down = nn.ModuleList(
            ConvNorm(Depthwise(hidden, kernel, stride=1 if k == 0 else 2), hidden) for k in range(depth)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, C, T) -> S maps (B, H, T_k) with T_0 = T and T_k = ceil(T_{k-1} / 2)."""
        scales: list[Tensor] = []
        y = self.activation(self.expand(x))
        for down in self.down:
            y = down(y)
            scales.append(y)
        return scales


class TopDown(nn.Module):
    """IntraA, twice: the global map modulates every scale; then each scale modulates the next finer one.

    With `stretched`, the global map is brought to the length of a scale before IntraA and not inside it, which its
    normalisations notice. The published audio branch is so, the video branch is not.
    """

    def __init__(self, channels: int, hidden: int, depth: int, *, stretched: bool) -> None:
        super().__init__()
        self.stretched = stretched
        self.global_intra = nn.ModuleList(IntraA(hidden, kernel=1) for _ in range(depth))
        self.local_intra = nn.ModuleList(IntraA(hidden, kernel=5) for _ in range(depth - 1))
        self.reduce = pointwise(hidden, channels)

    def modulate(self, scales: Sequence[Tensor], context: Tensor) -> list[Tensor]:
        """S maps (B, H, T_k) and the global map (B, H, any length) -> S maps (B, H, T_k)."""
        return [
            intra(scale, nearest(context, scale.shape[-1]) if self.stretched else context)
            for intra, scale in zip(self.global_intra, scales, strict=True)
        ]

    def descend(self, scales: Sequence[Tensor]) -> Tensor:
        """S maps (B, H, T_k) -> (B, C, T)."""
        y = scales[-1]
        for k in reversed(range(len(self.local_intra))):
            y = self.local_intra[k](scales[k], y)
        return self.reduce(y)


class InterTop(nn.Module):
    """InterA-T: each global map takes in what it lets through of the other, then passes a network of its own.

    g_a' = g_a + W_a(s_v * sigmoid(M_a(g_a))) and g_v' = g_v + W_v(s_a * sigmoid(M_v(g_v))), where s_a and s_v are the
    maps before, stretched to each other's length.
    """

    def __init__(self, audio: int, video: int, dropout: float) -> None:
        super().__init__()
        self.audio_gate = dense(audio, video, 3)  # M_a
        self.into_audio = dense(video, audio, 1, bias=True)  # W_a
        self.video_gate = dense(video, audio, 5)  # M_v
        self.into_video = dense(audio, video, 1, bias=True)  # W_v
        self.audio_attention = dense(audio, audio, 3)  # the public code calls these two attention
        self.audio_feed_forward = ConvFeedForward(audio, kernel=5, dropout=dropout)
        self.video_attention = dense(video, video, 3)
        self.video_feed_forward = dense(video, video, 3)
        self.drop_path = DropPath(dropout)

    def forward(self, audio: Tensor, video: Tensor) -> tuple[Tensor, Tensor]:
        """(B, H_a, T_{S-1}) and (B, H_v, F_{S-1}), same out."""
        seen, heard = nearest(video, audio.shape[-1]), nearest(audio, video.shape[-1])
        mixed_audio = audio + self.into_audio(seen * torch.sigmoid(self.audio_gate(audio)))
        video = video + self.into_video(heard * torch.sigmoid(self.video_gate(video)))
        video = video + self.drop_path(self.video_attention(video))
        video = video + self.drop_path(self.video_feed_forward(video))
        return self.refine(mixed_audio), video

    def refine(self, audio: Tensor) -> Tensor:
        """The audio's own network, (B, H_a, T_{S-1}), same out."""
        audio = audio + self.drop_path(self.audio_attention(audio))
        return audio + self.drop_path(self.audio_feed_forward(audio))


class InterMiddle(nn.Module):
    """InterA-M: video amplifies audio, scale by scale: A_k + A_k * sigmoid(up(cn(V_k)))."""

    def __init__(self, audio: int, video: int, depth: int) -> None:
        super().__init__()
        self.gates = nn.ModuleList(dense(video, audio, 3) for _ in range(depth))

    def forward(self, audio: Sequence[Tensor], video: Sequence[Tensor]) -> list[Tensor]:
        """S maps (B, H_a, T_k) and S maps (B, H_v, F_k) -> S maps (B, H_a, T_k)."""
        return [
            torch.addcmul(a, a, torch.sigmoid(nearest(gate(v), a.shape[-1])))
            for gate, a, v in zip(self.gates, audio, video, strict=True)
        ]


def inter_bottom(channels: int, activation: nn.Module) -> nn.Sequential:
    """InterA-B as published: what a cycle starts from, made of the last one's result plus the first features."""
    return nn.Sequential(Depthwise(channels, 1), activation)


class Separator(nn.Module):
    """`n_iterations` cycles with the same weights, of which the first `n_fusion` look at the video."""

    def __init__(self, config: IIANetConfig) -> None:
        super().__init__()
        self.n_iterations, self.n_fusion = config.n_iterations, config.n_fusion
        channels, hidden, video, depth = config.channels, config.hidden, config.video_channels, config.depth
        self.audio_up = BottomUp(channels, hidden, depth, kernel=5, activation=nn.PReLU())
        self.video_up = BottomUp(video, video, depth, kernel=3, activation=nn.GELU())
        self.inter_top = InterTop(hidden, video, config.dropout)
        self.inter_middle = InterMiddle(hidden, video, depth)
        self.audio_down = TopDown(channels, hidden, depth, stretched=True)
        self.video_down = TopDown(video, video, depth, stretched=False)
        self.inter_bottom_audio = inter_bottom(channels, nn.PReLU())
        self.inter_bottom_video = inter_bottom(video, nn.ReLU())

    def forward(self, audio: Tensor, video: Tensor) -> Tensor:
        """(B, C_a, T) and (B, C_v, F) -> (B, C_a, T)."""
        a, v = self.fuse(audio, video)
        for _ in range(1, min(self.n_fusion, self.n_iterations)):
            a, v = self.fuse(self.inter_bottom_audio(a + audio), self.inter_bottom_video(v + video))
        for _ in range(self.n_fusion, self.n_iterations):
            a = self.listen(self.inter_bottom_audio(a + audio))
        return a

    def fuse(self, audio: Tensor, video: Tensor) -> tuple[Tensor, Tensor]:
        """A cycle with both: (B, C_a, T) and (B, C_v, F), same out."""
        heard, seen = self.audio_up(audio), self.video_up(video)
        global_audio, global_video = self.inter_top(pool_sum(heard), pool_sum(seen))
        seen = self.video_down.modulate(seen, global_video)
        heard = self.inter_middle(self.audio_down.modulate(heard, global_audio), seen)
        return self.audio_down.descend(heard) + audio, self.video_down.descend(seen) + video

    def listen(self, audio: Tensor) -> Tensor:
        """A cycle of audio alone, (B, C_a, T), same out."""
        heard = self.audio_up(audio)
        context = self.inter_top.refine(pool_sum(heard))
        return self.audio_down.descend(self.audio_down.modulate(heard, context)) + audio


class IIANet(AudioVisualModel):
    """Mixture and lips -> encoder and lip reader -> cycles -> masks -> decoder -> the voice of that face."""

    def __init__(self, config: IIANetConfig) -> None:
        super().__init__()
        self.config: IIANetConfig = config
        n_basis, window, hop, n_src = config.n_basis, config.window, config.hop, config.n_src
        self.lips = None if config.lips is None else LipReading(config.lips)
        self.encoder = nn.Conv1d(1, n_basis, window, hop, padding=window // 2, bias=False)
        self.norm = GlobalLayerNorm(n_basis)
        self.bottleneck = pointwise(n_basis, config.channels)
        self.video_bottleneck = nn.Conv1d(config.visual_channels, config.video_channels, 3, padding=1)
        self.separator = Separator(config)
        self.mask = nn.Sequential(nn.PReLU(), pointwise(config.channels, n_src * n_basis), nn.ReLU())
        # One dense matrix: every estimate is made from the masked features of all sources.
        self.decoder = OverlapAdd(n_src * n_basis, n_src, window, hop)
        nn.init.xavier_uniform_(self.encoder.weight)
        nn.init.xavier_uniform_(self.decoder.weight)

    def forward(self, mixture: Tensor, video: Tensor) -> Tensor:
        """Separate a batch of mixtures, each by one face.

        Args:
            mixture: (B, time).
            video: mouth crops (B, F, height, width) as `lipreading.prepare_crops` makes them, or their embedding
                (B, visual_channels, F); `config.n_frames(time)` frames.

        Returns:
            (B, M, time).

        Raises:
            ShapeError: other ranks, batches that differ, or another number of video frames.
            SignalError: not floating point.
        """
        check_mixture(mixture)
        self._check_video(video, mixture)
        return self.separate(mixture, video if video.ndim == 3 else self.read_lips(video))

    def read_lips(self, video: Tensor) -> Tensor:
        """Mouth crops (B, F, height, width) -> embedding (B, visual_channels, F).

        Raises:
            ShapeError: this network has no lip reader, or crops that its lip reader does not take.
        """
        if self.lips is None:
            raise ShapeError(
                f"video has shape {tuple(video.shape)}, which are mouth crops, but this network carries no lip reader; "
                f"give their embedding (batch, {self.config.visual_channels}, frames), or import the network again "
                "together with its lip-reading file"
            )
        return self.lips(video)

    def separate(self, mixture: Tensor, visual: Tensor) -> Tensor:
        """`forward` for embeddings of any length: other than `n_frames` are stretched over the mixture, as published.

        (B, time) and (B, visual_channels, any F) -> (B, M, time).
        """
        features = self.encoder(pad_windows(mixture, window=self.config.window, hop=self.config.hop).unsqueeze(1))
        audio = self.bottleneck(self.norm(features))  # (B, C_a, T)
        separated = self.separator(audio, self.video_bottleneck(visual))  # (B, C_a, T)
        masks = self.mask(separated).unflatten(1, (self.config.n_src, -1))  # (B, M, N, T)
        estimates = self.decoder((masks * features.unsqueeze(1)).flatten(1, 2))  # (B, M, padded time)
        start = self.config.window - self.config.hop
        return estimates[..., start : start + mixture.shape[-1]]

    def example_inputs(self, seconds: float) -> tuple[Tensor, Tensor]:
        """Noise for measuring: a mixture, and crops if the lip reader learns too, else an embedding."""
        n_samples = round(seconds * self.config.sample_rate)
        n_frames, lips = self.config.n_frames(n_samples), self.config.lips
        mixture = 0.1 * torch.randn(1, n_samples)
        if lips is not None and lips.learns == "everything":
            return mixture, torch.randn(1, n_frames, lips.crop, lips.crop)
        return mixture, torch.randn(1, self.config.visual_channels, n_frames)

    def frozen_front_end(self) -> nn.Module | None:
        """The lip reader, unless it is trained with the rest; papers do not count it."""
        return None if self.config.lips is None or self.config.lips.learns == "everything" else self.lips

    def unused_parameters(self) -> frozenset[str]:
        """Weights that published files hold although no estimate depends on them.

        The video that leaves the last fusion cycle goes nowhere, so with a single one its way down acts on nothing.
        """
        n_fused = min(self.config.n_fusion, self.config.n_iterations)
        idle = ["separator.inter_bottom_audio."] if self.config.n_iterations == 1 else []
        if n_fused == 1:
            idle += [
                f"separator.{part}." for part in ("inter_bottom_video", "video_down.local_intra", "video_down.reduce")
            ]
        return frozenset(name for name, _ in self.named_parameters() if name.startswith(tuple(idle)))

    def _check_video(self, video: Tensor, mixture: Tensor) -> None:
        wanted = self.config.visual_channels
        if video.ndim not in (3, 4) or 0 in video.shape or (video.ndim == 3 and video.shape[1] != wanted):
            raise ShapeError(
                f"video has shape {tuple(video.shape)}; wanted mouth crops (batch, frames, height, width) or their "
                f"embedding (batch, {wanted}, frames)"
            )
        if video.shape[0] != mixture.shape[0]:
            raise ShapeError(
                f"there are {mixture.shape[0]} mixtures but {video.shape[0]} videos; give one of each, and repeat the "
                "mixture for every face in it"
            )
        if not video.is_floating_point():
            raise SignalError(f"video holds {video.dtype}, but gray levels are brought to floats by prepare_crops")
        n_frames = video.shape[1 if video.ndim == 4 else 2]
        rates = {"sample_rate": self.config.sample_rate, "frame_rate": self.config.frame_rate}
        check_frames(n_frames, n_samples=mixture.shape[1], **rates)
