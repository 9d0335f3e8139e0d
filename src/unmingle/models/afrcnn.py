"""A-FRCNN: fully recurrent convolutional network with asynchronous multi-scale fusion, and the networks it is compared
with. Hu, Li, Zhang, Luo, Lekhac, Yang, "Speech separation using an asynchronous fully recurrent convolutional neural
network", NeurIPS 2021, arXiv:2112.02321.

Implements A-FRCNN (concatenation and sum), S-FRCNN with its light and no-skip forms, Control 1 and 2, U-Net and
U-Net-Delay, methods A and B, unfolding DC, CC and SC. A-DualPathRNN and A-Sandglasset (Sec. 5.4) are left out: the text
does not give their layers.

Letters: B batch, M sources, N encoder filters, C0 channels, C hidden, S stages, F frames, F_k = F / 2^k.

A block computes S maps, each at half the rate of the one before, lets them talk (`mix`), reduces them to one
(`finish`) and adds its own input:

    x (B, C0, F) -> project -> bottom_up -> [y_0 (B, C, F) ... y_{S-1} (B, C, F_{S-1})] -> mix -> finish -> restore + x

A scheme is the pair (mix, finish); `SCHEMES`, near the end, lists them all.

Departures from the text, each of them what the printed sizes and the public weights need: the bottleneck is always
there; the vertical and the oblique connection between two stages have their own filters; the decoder mixes the masked
features of all sources (the text has one filter bank, used once per source). The sizes of the S-FRCNN and U-Net rows
fit a dense phi only, those of A-FRCNN and the Controls a depth-wise one, hence `phi`. S-FRCNN and the two paper U-Nets
have no faithful public code: here they follow the text and the printed sizes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unmingle.layers.conv import ConvNorm, ConvNormAct, Depthwise, NormAct, OverlapAdd, PixelShuffle, nearest, pointwise
from unmingle.layers.norm import GlobalLayerNorm
from unmingle.models.base import SeparationModel, check_mixture
from unmingle.presets.afrcnn import SYNCHRONOUS, AFRCNNConfig

KERNEL = 5  # of every depth-wise filter inside the block


def same_rate(channels: int) -> ConvNorm:
    """Depth-wise filter and gLN, (B, C, F_k) -> (B, C, F_k)."""
    return ConvNorm(Depthwise(channels, KERNEL), channels)


def half_rate(channels: int) -> ConvNorm:
    """Depth-wise filter of stride 2 and gLN, (B, C, F_k) -> (B, C, F_{k+1})."""
    return ConvNorm(Depthwise(channels, KERNEL, stride=2), channels)


def path(config: AFRCNNConfig, source: int, target: int) -> nn.Sequential:
    """The way of a map from one stage to another (Sec. 4.2); empty is a copy, made longer by `nearest` where needed."""
    steps = target - source
    if steps > 0:
        return nn.Sequential(*(half_rate(config.hidden) for _ in range(steps)))
    if steps < 0 and config.method == "A":
        return nn.Sequential(*(PixelShuffle(config.hidden, KERNEL) for _ in range(-steps)))
    if steps == 0 and config.lateral == "depthwise":
        return nn.Sequential(ConvNorm(Depthwise(config.hidden, 1), config.hidden))
    return nn.Sequential()


class Gather(nn.Module):
    """One stage reads several: their maps are brought to its length and concatenated in the order of `sources`.

    With `summed` they are added instead, and no convolution is needed to return to C channels. With `fuse_early` each
    map meets its columns of the 1x1 convolution at its own rate, before it is made longer: the same sum for less.
    """

    def __init__(self, config: AFRCNNConfig, *, target: int, sources: Iterable[int], summed: bool = False) -> None:
        super().__init__()
        self.target, self.summed, self.fuse_early = target, summed, config.fuse_early
        self.paths = nn.ModuleDict({str(source): path(config, source, target) for source in sources})
        width = len(self.paths) * config.hidden
        self.fuse = NormAct(config.hidden) if summed else ConvNormAct(pointwise(width, config.hidden), config.hidden)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """S maps -> (B, C, F_target)."""
        arriving = [step(maps[int(k)]) for k, step in self.paths.items()]
        length = maps[self.target].shape[-1]
        if self.fuse_early and isinstance(self.fuse, ConvNormAct):
            return self.fuse.joined(arriving, length)
        arriving = [nearest(x, length) for x in arriving]  # each (B, C, F_target)
        return self.fuse(sum(arriving[1:], arriving[0]) if self.summed else torch.cat(arriving, dim=1))


class Exchange(nn.ModuleList):
    """Every stage gathers at once, all from the same old maps."""

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """S maps -> S maps of the same shapes."""
        return [gather(maps) for gather in self]


class TopDownGather(nn.ModuleList):
    """Stages gather one after the other, coarse to fine: z_k from y_k and z_{k+1}."""

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """S maps -> S maps of the same shapes; the coarsest stays as it is."""
        fused = list(maps)
        for stage in reversed(range(len(self))):
            fused[stage] = self[stage](fused)
        return fused


class TopDownSum(nn.Module):
    """From the coarsest map down, each map is added to the one above it: z_k = lateral(y_k) + up(z_{k+1})."""

    def __init__(self, config: AFRCNNConfig, lateral: Callable[[int], nn.Module] | None = None) -> None:
        super().__init__()
        steps = range(config.depth - 1)
        self.paths = nn.ModuleList(path(config, stage + 1, stage) for stage in steps)
        self.laterals = nn.ModuleList(nn.Identity() if lateral is None else lateral(config.hidden) for _ in steps)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """S maps -> S maps of the same shapes; the coarsest stays as it is."""
        added = list(maps)
        for stage in reversed(range(len(self.paths))):
            above = nearest(self.paths[stage](added[stage + 1]), maps[stage].shape[-1])
            added[stage] = self.laterals[stage](maps[stage]) + above
        return added


class Finest(nn.Module):
    """Apply one layer to the finest map and forget the others."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """S maps -> (B, C, F)."""
        return self.layer(maps[0])


class BottomUp(nn.Module):
    """The S maps of a block: y_0 at full rate, then y_k from y_{k-1} at half its rate."""

    def __init__(self, config: AFRCNNConfig) -> None:
        super().__init__()
        halves = (half_rate(config.hidden) for _ in range(config.depth - 1))
        self.stages = nn.ModuleList([same_rate(config.hidden), *halves])

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, C, F) -> S maps, (B, C, F_k)."""
        maps: list[Tensor] = []
        for stage in self.stages:
            maps.append(stage(maps[-1] if maps else x))
        return maps


class SkippedBottomUp(nn.Module):
    """The public U-Net-Delay file: y_k also reads the block's input, through its own chain of k stride-2 filters."""

    def __init__(self, config: AFRCNNConfig) -> None:
        super().__init__()
        hidden, above = config.hidden, range(1, config.depth)
        self.stages = nn.ModuleList([same_rate(hidden), *(half_rate(hidden) for _ in above)])
        chains = [[ConvNormAct(Depthwise(hidden, KERNEL, stride=2), hidden) for _ in range(k)] for k in above]
        self.skips = nn.ModuleList(nn.Sequential(*chain) for chain in chains)
        self.fuse = nn.ModuleList(ConvNormAct(pointwise(2 * hidden, hidden), hidden) for _ in above)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, C, F) -> S maps, (B, C, F_k)."""
        first, *others = self.stages
        maps = [first(x)]
        for stage, skip, fuse in zip(others, self.skips, self.fuse, strict=True):
            maps.append(fuse(torch.cat([stage(maps[-1]), skip(x)], dim=1)))
        return maps


# Connection schemes (Fig. 2): how the maps talk, and how they become one.


def _exchange(config: AFRCNNConfig, *, below: int, above: int, summed: bool = False) -> Exchange:
    """Every stage reads itself, `below` finer stages and `above` coarser ones, as far as there are any."""
    stages = range(config.depth)
    reach = [stages[max(0, stage - below) : stage + above + 1] for stage in stages]
    return Exchange(Gather(config, target=k, sources=sources, summed=summed) for k, sources in enumerate(reach))


def _gather_all(config: AFRCNNConfig) -> Gather:
    return Gather(config, target=0, sources=range(config.depth))


def _sum_down(config: AFRCNNConfig) -> nn.Sequential:
    return nn.Sequential(TopDownSum(config), Finest(NormAct(config.hidden)))


def _top_down(config: AFRCNNConfig) -> TopDownGather:
    return TopDownGather(Gather(config, target=k, sources=(k, k + 1)) for k in range(config.depth - 1))


Scheme = tuple[nn.Module, nn.Module]


def asynchronous(config: AFRCNNConfig) -> Scheme:
    """A-FRCNN (Fig. 2d): neighbours fuse once the bottom-up pass is over, then all stages fuse into the finest."""
    return _exchange(config, below=1, above=1), _gather_all(config)


def asynchronous_sum(config: AFRCNNConfig) -> Scheme:
    """A-FRCNN (sum): neighbours are added rather than concatenated."""
    return _exchange(config, below=1, above=1, summed=True), _gather_all(config)


def synchronous(config: AFRCNNConfig) -> Scheme:
    """S-FRCNN: all stages read all stages at every step."""
    return _exchange(config, below=config.depth, above=config.depth), _gather_all(config)


def synchronous_no_skip(config: AFRCNNConfig) -> Scheme:
    """S-FRCNN (no-skip): all stages read their neighbours at every step."""
    return _exchange(config, below=1, above=1), _gather_all(config)


def control_1(config: AFRCNNConfig) -> Scheme:
    """Control 1: all stages fuse with all, then they are added from the coarsest down."""
    return _exchange(config, below=config.depth, above=config.depth), _sum_down(config)


def control_2(config: AFRCNNConfig) -> Scheme:
    """Control 2: as Control 1 without the skips from fine stages to much coarser ones."""
    return _exchange(config, below=1, above=config.depth), _sum_down(config)


def unet(config: AFRCNNConfig) -> Scheme:
    """U-Net: back from coarse to fine, each stage reading itself and the one above."""
    width = config.hidden
    return _top_down(config), Finest(ConvNormAct(pointwise(width, width), width))


def unet_delay(config: AFRCNNConfig) -> Scheme:
    """U-Net-Delay: as U-Net, then all stages fuse into the finest."""
    return _top_down(config), _gather_all(config)


def sfrcnn_code(config: AFRCNNConfig) -> Scheme:
    """The public S-FRCNN file: in truth a U-Net that adds."""
    return nn.Identity(), _sum_down(config)


def unet_code(config: AFRCNNConfig) -> Scheme:
    """The public U-Net file: adds through depth-wise laterals, then fuses all stages but the coarsest, coarse first."""
    coarse_first = reversed(range(config.depth - 1))
    return TopDownSum(config, same_rate), Gather(config, target=0, sources=coarse_first)


def unet_delay_code(config: AFRCNNConfig) -> Scheme:
    """The public U-Net-Delay file: adds through dense laterals, then fuses all stages, coarse first."""
    coarse_first = reversed(range(config.depth))
    return TopDownSum(config, lambda width: pointwise(width, width)), Gather(config, target=0, sources=coarse_first)


SCHEMES: dict[str, Callable[[AFRCNNConfig], Scheme]] = {
    "asynchronous": asynchronous,
    "asynchronous-sum": asynchronous_sum,
    "synchronous": synchronous,
    "synchronous-no-skip": synchronous_no_skip,
    "control-1": control_1,
    "control-2": control_2,
    "unet": unet,
    "unet-delay": unet_delay,
    "sfrcnn-code": sfrcnn_code,
    "unet-code": unet_code,
    "unet-delay-code": unet_delay_code,
}


class Block(nn.Module):
    """The weight-tied block f: maps at S rates, a scheme that fuses them, and a residual around it all."""

    def __init__(self, config: AFRCNNConfig) -> None:
        super().__init__()
        self.project = ConvNormAct(pointwise(config.channels, config.hidden), config.hidden)
        self.bottom_up = SkippedBottomUp(config) if config.scheme == "unet-delay-code" else BottomUp(config)
        self.mix, self.finish = SCHEMES[config.scheme](config)
        self.restore = pointwise(config.hidden, config.channels)

    def forward(self, x: Tensor, mix: Callable[[list[Tensor]], list[Tensor]] | None = None) -> Tensor:
        """(B, C0, F), same out. `mix` stands in for the block's own, when that is what gets unfolded."""
        maps = self.bottom_up(self.project(x))  # S of (B, C, F_k)
        fused = self.finish((mix or self.mix)(maps))  # (B, C, F)
        return self.restore(fused) + x


class Phi(nn.Module):
    """What happens between two unfolding steps (Fig. 4): join the initial map and the last one, 1x1 conv, PReLU."""

    def __init__(self, config: AFRCNNConfig, width: int) -> None:
        super().__init__()
        self.unfolding = config.unfolding
        groups = 1 if config.phi == "dense" else width
        conv = pointwise(2 * width if self.unfolding == "CC" else width, width, groups=groups)
        self.layers = nn.Sequential() if config.phi == "none" else nn.Sequential(conv, nn.PReLU())

    def forward(self, initial: Tensor, last: Tensor) -> Tensor:
        """Two maps of one shape -> one map of that shape."""
        if self.unfolding == "DC":
            return self.layers(last)
        joined = initial + last if self.unfolding == "SC" else torch.cat([initial, last], dim=1)
        return self.layers(joined)


class Separator(nn.Module):
    """One block, unfolded in time (Eq. 4 and 5): x_1 = f(x_0), x_{t+1} = f(phi(x_0, x_t)).

    The synchronous schemes unfold only the exchange between the stages; their state is the S maps, and phi serves each.
    Untied, every step has an f and a phi of its own.
    """

    block: Block | nn.ModuleList
    phi: Phi | nn.ModuleList

    def __init__(self, config: AFRCNNConfig) -> None:
        super().__init__()
        self.n_iterations = config.n_iterations
        self.synchronous = config.scheme in SYNCHRONOUS
        width = config.hidden if self.synchronous else config.channels
        if config.tied:
            self.block, self.phi = Block(config), Phi(config, width)
        else:
            self.block = nn.ModuleList(Block(config) for _ in range(config.n_iterations))
            self.phi = nn.ModuleList(Phi(config, width) for _ in range(config.n_iterations - 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C0, F), same out."""
        return self.block(x, mix=self._unfold_exchange) if self.synchronous else self._unfold_block(x)

    def _unfold_block(self, initial: Tensor) -> Tensor:
        first, *blocks = self.block if isinstance(self.block, nn.ModuleList) else [self.block] * self.n_iterations
        phis = self.phi if isinstance(self.phi, nn.ModuleList) else [self.phi] * len(blocks)
        x = first(initial)
        for block, phi in zip(blocks, phis, strict=True):
            x = block(phi(initial, x))
        return x

    def _unfold_exchange(self, initial: list[Tensor]) -> list[Tensor]:
        assert isinstance(self.block, Block)  # the configuration refuses an untied synchronous network
        exchange = self.block.mix
        maps = exchange(initial)
        for _ in range(self.n_iterations - 1):
            maps = exchange([self.phi(*pair) for pair in zip(initial, maps, strict=True)])
        return maps


class AFRCNN(SeparationModel):
    """Encoder, masks from the unfolded separator, decoder. Wants no normalisation of the mixture.

    Args:
        config: which member of the family, and its sizes.
    """

    config: AFRCNNConfig

    def __init__(self, config: AFRCNNConfig) -> None:
        super().__init__()
        self.config = config
        window, hop, masked = config.window, config.hop, config.n_src * config.n_basis
        self.block_samples = math.lcm(hop, 2**config.depth)  # whole frames at every stage
        self.encoder = nn.Conv1d(1, config.n_basis, window, hop, padding=window // 2, bias=False)
        self.norm = GlobalLayerNorm(config.n_basis)
        self.bottleneck = pointwise(config.n_basis, config.channels)
        self.separator = Separator(config)
        self.mask = nn.Sequential(nn.PReLU(), pointwise(config.channels, masked), nn.ReLU())
        self.decoder = OverlapAdd(masked, config.n_src, window, hop, output_padding=hop - 1)
        nn.init.xavier_uniform_(self.encoder.weight)
        nn.init.xavier_uniform_(self.decoder.weight)

    def forward(self, mixture: Tensor) -> Tensor:
        """Separate a batch of mixtures.

        Args:
            mixture: (batch, time) at `config.sample_rate`, one sample or more.

        Returns:
            (batch, n_src, time).

        Raises:
            ShapeError: the mixture has another rank, or no samples.
            SignalError: the samples are not floating point.
        """
        check_mixture(mixture)
        time = mixture.shape[-1]
        whole = (time + self.block_samples - 1) // self.block_samples * self.block_samples
        padded = F.pad(mixture, (0, whole - time))
        features = self.encoder(padded.unsqueeze(1))  # (B, N, F)
        masks = self.mask(self.separator(self.bottleneck(self.norm(features))))  # (B, M*N, F)
        masked = masks.unflatten(1, (self.config.n_src, -1)) * features.unsqueeze(1)  # (B, M, N, F)
        estimates = self.decoder(masked.flatten(1, 2))  # (B, M, padded time)
        return F.pad(estimates, (0, time - estimates.shape[-1]))  # a slice would fix in exported graphs whether it cuts

    def unfolded_blocks(self) -> list[nn.Module]:
        """The block, or those of an untied network; of a synchronous one its exchange, which alone is unfolded."""
        block = self.separator.block
        if isinstance(block, nn.ModuleList):
            return list(block)
        return [block.mix if self.separator.synchronous else block]

    def name_when_tied(self, key: str) -> str:
        """`separator.block.3.restore.bias` -> `separator.block.restore.bias`, and so on."""
        return key if self.config.tied else re.sub(r"^(separator\.(?:block|phi))\.\d+\.", r"\1.", key)

    def unused_parameters(self) -> frozenset[str]:
        """Phi serves from the second unfolding step on; published files hold it even where there is only one."""
        idle = self.named_parameters() if self.config.n_iterations == 1 else ()
        return frozenset(name for name, _ in idle if name.startswith("separator.phi."))
