"""Names of the A-FRCNN family's tensors: three published layouts, one set of ours.

| layout       | block under               | parts of a unit           | networks                                      |
|--------------|---------------------------|---------------------------|-----------------------------------------------|
| current      | `sm.blocks.`, `sm.block.` | `conv`, `norm`, `act`     | A-FRCNN, concatenation and sum                |
| control      | `sm.hrnet.`               | `conv`, `norm`, `act`     | Control 1 and 2                               |
| October 2021 | `sm.msrnn.`               | `net.0`, `net.1`, `net.2` | A-FRCNN; public S-FRCNN, U-Net, U-Net-Delay   |

A unit is a convolution, gLN and PReLU, or some of them. gLN's `gamma` and `beta` are our `weight` and `bias`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from unmingle.presets.afrcnn import AFRCNNConfig

_BLOCK = "separator.block."
_OUTSIDE = {"norm": "ln", "mask": "mask_net", "separator.phi.layers": "sm.concat_block"}
_PARTS = {"conv": 0, "norm": 1, "act": 2}
_GLN = {"weight": "gamma", "bias": "beta"}


def block_prefix(keys: Collection[str]) -> str | None:
    """What every key of the block begins with, by which the layout is known; None where no layout fits."""
    first = {"sm.msrnn.": "first.", "sm.blocks.": "proj_1x1.", "sm.block.": "proj_1x1.", "sm.hrnet.": "proj_1x1."}
    return next((prefix for prefix, unit in first.items() if any(key.startswith(prefix + unit) for key in keys)), None)


def is_old(prefix: str) -> bool:
    """Whether a block prefix is the one of October 2021."""
    return prefix == "sm.msrnn."


def published_names(ours: Collection[str], *, prefix: str, config: AFRCNNConfig) -> dict[str, str]:
    """Our name -> published name, for every tensor of a network.

    Args:
        ours: all parameter names of the network.
        prefix: what `block_prefix` found.
        config: the network.
    """
    layout = _Layout(prefix, config, frozenset(ours))
    return {name: layout.published(name) for name in ours}


@dataclass(frozen=True)
class _Layout:
    prefix: str
    config: AFRCNNConfig
    ours: frozenset[str]

    def published(self, name: str) -> str:
        """`separator.block.project.norm.weight` -> `sm.blocks.proj_1x1.norm.gamma`, and so on."""
        owner, leaf = name.rsplit(".", 1)
        if not owner.startswith(_BLOCK):
            shared = next((prefix for prefix in _OUTSIDE if owner.startswith(prefix)), "")
            theirs = _OUTSIDE.get(shared, "") + owner.removeprefix(shared)
            return f"{theirs}.{_GLN[leaf] if owner == 'norm' else leaf}"
        unit, _, part = owner.removeprefix(_BLOCK).rpartition(".")
        if part not in _PARTS:  # a convolution by itself
            return f"{self.prefix}{self._unit(owner.removeprefix(_BLOCK))}.{leaf}"
        return f"{self.prefix}{self._unit(unit)}.{self._part(unit, part)}.{_GLN[leaf] if part == 'norm' else leaf}"

    def _part(self, unit: str, part: str) -> str:
        if not is_old(self.prefix):
            return part
        has_conv = f"{_BLOCK}{unit}.conv.weight" in self.ours
        return f"net.{_PARTS[part] if has_conv else _PARTS[part] - 1}"

    def _unit(self, unit: str) -> str:
        return self._fusion(unit) if unit.startswith(("mix", "finish")) else self._trunk(unit)

    def _trunk(self, unit: str) -> str:
        old = is_old(self.prefix)
        match unit.split("."):
            case ["project"]:
                return "first" if old else "proj_1x1"
            case ["bottom_up", "stages", stage]:
                return f"bottom_up.{stage}" if old else f"spp_dw.{stage}"
            case ["bottom_up", "skips", chain, step]:
                return f"bottom_up_skip.downsample.{chain}.{step}"
            case ["bottom_up", "fuse", stage]:
                return f"bottom_up_con.{stage}"
            case _:
                return {"restore": "res_conv"}.get(unit, unit)

    def _fusion(self, unit: str) -> str:
        old = is_old(self.prefix)
        match unit.split("."):
            case ["mix", target, "paths", source, step]:
                control = self.config.scheme in {"control-1", "control-2"}
                return f"fuse_layers.{target}.{source}.{step}" if control else f"fuse_layers.{target}.{step}"
            case ["mix", target, "fuse"]:
                return f"top_down.{target}" if old else f"concat_layer.{target}"
            case ["mix", "laterals", stage]:
                return f"latlayer.{self._from_above(stage)}"
            case ["finish", "0", "paths", stage, "0"]:
                return f"upsample_layers.{self._from_above(stage)}"
            case ["finish", "1", "layer"]:
                return "final_norm" if old else "last_layer.0"
            case _:
                return {"finish.fuse": "top_down_skip.0" if old else "last_layer.0"}.get(unit, unit)

    def _from_above(self, stage: str) -> int:
        """The public files count the way down from the coarsest stage; we number stages from the finest."""
        return self.config.depth - 2 - int(stage)
