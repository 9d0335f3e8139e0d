"""The public A-FRCNN files written a second time, as plain functions over their own tensor names, at sizes of any kind.

Parity vectors hold a few sizes; here the converted network has to follow the description at others: every depth, other
numbers of speakers, windows, very short and odd lengths.
"""

import json
import math

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from unmingle.convert import import_checkpoint
from unmingle.convert.check import check_file
from unmingle.errors import CheckpointError, ConfigError


class Drawn(dict):
    """Tensors by name, drawn when first asked for: gains and slopes near one, all else small."""

    def __init__(self, seed):
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def get_drawn(self, key, shape, around=0.0, spread=None):
        if key not in self:
            spread = 1 / math.sqrt(max(1, math.prod(shape[1:]))) if spread is None else spread
            self[key] = around + spread * torch.randn(shape, generator=self.generator)
        return self[key]


def conv(w, key, x, out, kernel=1, stride=1, groups=1):
    weight = w.get_drawn(f"{key}.weight", (out, x.shape[1] // groups, kernel))
    return F.conv1d(x, weight, w.get_drawn(f"{key}.bias", (out,), spread=0.1), stride, kernel // 2, 1, groups)


def gln(w, key, x):
    mean, var = x.mean((1, 2), keepdim=True), x.var((1, 2), keepdim=True, correction=0)
    gamma, beta = w.get_drawn(f"{key}.gamma", x.shape[1:2], 1, 0.2), w.get_drawn(f"{key}.beta", x.shape[1:2], 0, 0.2)
    return (x - mean) / (var + 1e-8).sqrt() * gamma[:, None] + beta[:, None]


def prelu(w, key, x):
    return F.prelu(x, w.get_drawn(f"{key}.weight", (1,), 0.25, 0.1))


def nearest(x, like):
    return x[..., torch.arange(like.shape[-1]) * x.shape[-1] // like.shape[-1]]


class Block:
    """One public block: `names` are what its layout calls convolution, norm and activation of a unit."""

    def __init__(self, w, prefix, arguments):
        self.w, self.prefix = w, prefix
        self.channels, self.hidden, self.depth = (
            arguments["out_channels"],
            arguments["in_channels"],
            arguments.get("states", arguments.get("upsampling_depth")),
        )
        self.old = prefix == "sm.msrnn."
        self.names = ("net.0", "net.1", "net.2") if self.old else ("conv", "norm", "act")

    def unit(self, name, x, kernel=1, stride=1, groups=1, *, act=True):
        key = self.prefix + name
        x = gln(
            self.w,
            f"{key}.{self.names[1]}",
            conv(self.w, f"{key}.{self.names[0]}", x, self.hidden, kernel, stride, groups),
        )
        return prelu(self.w, f"{key}.{self.names[2]}", x) if act else x

    def depthwise(self, name, x, stride, *, act=False):
        return self.unit(name, x, 5, stride, self.hidden, act=act)

    def norm_act(self, name, x):
        norm, act = ("net.0", "net.1") if self.old else ("norm", "act")
        return prelu(self.w, f"{self.prefix}{name}.{act}", gln(self.w, f"{self.prefix}{name}.{norm}", x))

    def shuffle(self, name, x):
        key = self.prefix + name
        y = conv(self.w, f"{key}.conv", x, 2 * self.hidden, 5, 1, self.hidden)
        y = y.reshape(len(x), 2, self.hidden, -1).permute(0, 2, 3, 1).reshape(len(x), self.hidden, -1)
        return gln(self.w, f"{key}.norm", y)

    def stages(self, r):
        h = self.unit("first" if self.old else "proj_1x1", r)
        name = "bottom_up" if self.old else "spp_dw"
        y = [self.depthwise(f"{name}.0", h, 1)]
        for k in range(1, self.depth):
            y.append(self.depthwise(f"{name}.{k}", y[-1], 2))
        return h, y

    def restore(self, x, r):
        return conv(self.w, f"{self.prefix}res_conv", x, self.channels) + r

    def asynchronous(self, r, *, summed):
        _, y = self.stages(r)
        z = []
        for i in range(self.depth):
            below = [self.depthwise(f"fuse_layers.{i}.0", y[i - 1], 2)] if i else []
            above = [nearest(y[i + 1], y[i])] if i < self.depth - 1 else []
            name = f"{'top_down' if self.old else 'concat_layer'}.{i}"
            parts = [*below, y[i], *above]
            z.append(self.norm_act(name, sum(parts)) if summed else self.unit(name, torch.cat(parts, 1)))
        return self.gather("top_down_skip.0" if self.old else "last_layer.0", z, r)

    def gather(self, name, maps, r):
        return self.restore(self.unit(name, torch.cat([nearest(x, r) for x in maps], 1)), r)

    def control(self, r, *, all_skips):
        _, y = self.stages(r)
        z = []
        for i in range(self.depth):
            parts = [self.chain(i, j, y) for j in range(self.depth) if all_skips or j >= i - 1]
            z.append(self.unit(f"concat_layer.{i}", torch.cat(parts, 1)))
        current = z[-1]
        for t in range(self.depth - 1):
            k = self.depth - 2 - t
            current = z[k] + nearest(self.shuffle(f"upsample_layers.{t}", current), z[k])
        return self.restore(self.norm_act("last_layer.0", current), r)

    def chain(self, i, j, y):
        x = y[j]
        for step in range(abs(i - j)):
            name = f"fuse_layers.{i}.{j}.{step}"
            x = self.depthwise(name, x, 2) if j < i else self.shuffle(name, x)
        return nearest(x, y[i])

    def summing(self, r):
        _, y = self.stages(r)
        current = y[-1]
        for finer in reversed(y[:-1]):
            current = finer + nearest(current, finer)
        return self.restore(self.norm_act("final_norm", current), r)

    def u_net(self, r):
        _, y = self.stages(r)
        current, stored = y[-1], []
        for t, finer in enumerate(reversed(y[:-1])):
            current = self.depthwise(f"latlayer.{t}", finer, 1) + nearest(current, finer)
            stored.append(current)
        return self.gather("top_down_skip.0", stored, r)

    def u_net_delay(self, r):
        h = self.unit("first", r)
        y = [self.depthwise("bottom_up.0", h, 1)]
        for k in range(1, self.depth):
            skip = h
            for n in range(k):
                skip = self.depthwise(f"bottom_up_skip.downsample.{k - 1}.{n}", skip, 2, act=True)
            y.append(
                self.unit(f"bottom_up_con.{k - 1}", torch.cat([self.depthwise(f"bottom_up.{k}", y[-1], 2), skip], 1))
            )
        stored = [y[-1]]
        for t, finer in enumerate(reversed(y[:-1])):
            lateral = conv(self.w, f"{self.prefix}latlayer.{t}", finer, self.hidden)
            stored.append(lateral + nearest(stored[-1], finer))
        return self.gather("top_down_skip.0", stored, r)


BLOCKS = {
    "afrcnn/concat": ("sm.blocks.", lambda block, r: block.asynchronous(r, summed=False)),
    "afrcnn/concat-v1": ("sm.msrnn.", lambda block, r: block.asynchronous(r, summed=False)),
    "afrcnn/sum": ("sm.block.", lambda block, r: block.asynchronous(r, summed=True)),
    "control1": ("sm.hrnet.", lambda block, r: block.control(r, all_skips=True)),
    "control2": ("sm.hrnet.", lambda block, r: block.control(r, all_skips=False)),
    "sfrcnn-code": ("sm.msrnn.", Block.summing),
    "unet-code": ("sm.msrnn.", Block.u_net),
    "unet-delay-code": ("sm.msrnn.", Block.u_net_delay),
}


def unfold(w, family, arguments, x0):
    prefix, run = BLOCKS[family]
    block, mode = Block(w, prefix, arguments), arguments.get("recurrent_mode", "SC")
    x = run(block, x0)
    if mode == "DC":  # once, whatever the count, and without phi
        return x
    for step in range(max(1, arguments["num_blocks"] - 1)):
        joined = torch.cat([x0, x], 1) if mode == "CC" else x0 + x
        phi = prelu(w, "sm.concat_block.1", conv(w, "sm.concat_block.0", joined, x0.shape[1], groups=x0.shape[1]))
        x = run(block, phi) if step < arguments["num_blocks"] - 1 else x  # phi is there, unused, when run once
    return x


def published(w, family, arguments, mixture):
    """(batch, time) -> (batch, n_src, time)."""
    kernel, n_src, n_basis = arguments["enc_kernel_size"], arguments["num_sources"], arguments["enc_num_basis"]
    stride, depth = kernel // 2, arguments.get("states", arguments.get("upsampling_depth"))
    time = mixture.shape[-1]
    padded = F.pad(mixture, (0, -time % math.lcm(stride, 2**depth)))[:, None]
    encoded = F.conv1d(padded, w.get_drawn("encoder.weight", (n_basis, 1, kernel)), None, stride, stride)
    bottleneck = conv(w, "bottleneck", gln(w, "ln", encoded), arguments["out_channels"])
    x = prelu(w, "mask_net.0", unfold(w, family, arguments, bottleneck))
    masks = conv(w, "mask_net.1", x, n_src * n_basis).unflatten(1, (n_src, n_basis)).relu()
    masked = (masks * encoded[:, None]).flatten(1, 2)
    decoder = w.get_drawn("decoder.weight", (n_src * n_basis, n_src, kernel), spread=0.1)
    return F.conv_transpose1d(masked, decoder, None, stride, stride, stride - 1)[..., :time]


def drawn(seed, family, shape, **changes):
    """Arguments, tensors, input and output of a network with drawn weights, the output scaled to one."""
    sizes = {
        "out_channels": 6,
        "in_channels": 8,
        "num_blocks": 3,
        "enc_kernel_size": 21,
        "enc_num_basis": 7,
        "num_sources": 2,
    }
    depth = "states" if BLOCKS[family][0] == "sm.msrnn." else "upsampling_depth"
    arguments = {**sizes, depth: 4, **changes}
    w, mixture = Drawn(seed), torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    rows = mixture.reshape(-1, shape[-1])
    loudest = published(w, family, arguments, rows).abs().max()
    w["decoder.weight"] /= loudest
    output = published(w, family, arguments, rows)
    return arguments, w, mixture, output[0] if len(shape) == 1 else output


def vector(path, seed, family, shape, **changes):
    """Write the vector file of a network with drawn weights."""
    arguments, w, mixture, output = drawn(seed, family, shape, **changes)
    tensors = {f"state/{key}": value.contiguous() for key, value in w.items()}
    spec = json.dumps({"family": family, "config": arguments, "sample_rate": 8000})
    save_file({**tensors, "input": mixture, "output": output.contiguous()}, path, metadata={"spec": spec})
    return path


ONLY = {"control2": {"upsampling_depth": 5}, "sfrcnn-code": {"in_channels": 512}}  # other sizes cannot be built
CASES = [
    *((family, (2, 1, 1203), ONLY.get(family, {})) for family in BLOCKS),
    *(
        (family, (1, 777), {"upsampling_depth": depth})
        for family in ("afrcnn/concat", "afrcnn/sum")
        for depth in (2, 3, 5, 6)
    ),
    *(("control1", (1, 777), {"upsampling_depth": depth}) for depth in (2, 3, 6)),
    *(
        (family, (1, 777), {"states": depth})
        for family in ("unet-code", "unet-delay-code", "afrcnn/concat-v1")
        for depth in (2, 3, 6)
    ),
    *(
        (family, (500,), {"recurrent_mode": mode})
        for family in ("unet-code", "unet-delay-code", "afrcnn/concat-v1")
        for mode in ("DC", "CC")
    ),
    *(("sfrcnn-code", (500,), {"recurrent_mode": mode, "in_channels": 512}) for mode in ("DC", "CC", "SC")),
    *((family, (1, length), {}) for family in ("afrcnn/concat", "control1") for length in (1, 9, 160, 161)),
    ("afrcnn/concat", (3, 1, 700), {"num_sources": 3, "enc_kernel_size": 41}),
    ("afrcnn/sum", (2, 700), {"num_sources": 1, "enc_kernel_size": 16, "num_blocks": 1}),
    ("afrcnn/concat", (2, 700), {"out_channels": 8, "in_channels": 8, "enc_num_basis": 8, "num_blocks": 16}),
    ("afrcnn/concat-v1", (2, 700), {"out_channels": 1, "in_channels": 3, "recurrent_mode": "CC"}),
]


@pytest.mark.parametrize(("family", "shape", "changes"), CASES, ids=str)
def test_the_converted_network_follows_the_description(tmp_path, family, shape, changes):
    verdict = check_file(vector(tmp_path / "v.safetensors", 5, family, shape, **changes))
    assert verdict.ok, verdict.reason or verdict


OLD = [family for family, (prefix, _) in BLOCKS.items() if prefix == "sm.msrnn."]  # these alone know CC and DC
NEW = [family for family in BLOCKS if family not in OLD]


@pytest.mark.parametrize(
    ("family", "mode"), [*((family, "SC") for family in NEW), *((f, mode) for f in OLD for mode in ("SC", "CC", "DC"))]
)
def test_sizes_and_network_are_read_off_the_tensors(tmp_path, family, mode):
    changes = {**ONLY.get(family, {}), **({"recurrent_mode": mode} if family in OLD else {})}
    arguments, w, mixture, output = drawn(6, family, (1, 901), **changes)
    torch.save(
        {"epoch": 1, "model_state_dict": {f"module.{key}": value for key, value in w.items()}}, tmp_path / "best.pt"
    )
    overrides = {} if mode == "DC" else {"n_iterations": arguments["num_blocks"]}
    model = import_checkpoint(tmp_path / "best.pt", overrides=overrides)
    with torch.inference_mode():
        torch.testing.assert_close(model(mixture), output, rtol=0, atol=2e-5)
    assert (model.config.sample_rate, model.config.hidden) == (8000, arguments["in_channels"])


def test_the_number_of_iterations_is_asked_for(tmp_path):
    _, w, _, _ = drawn(6, "afrcnn/sum", (1, 901))
    content = {"model_name": "AFRCNN", "state_dict": dict(w), "model_args": {"n_src": 2}, "infos": []}
    torch.save(content, tmp_path / "best_model.pth")
    with pytest.raises(ConfigError, match=r"n_iterations.*16"):
        import_checkpoint(tmp_path / "best_model.pth")


def test_missing_and_surplus_tensors_are_listed_in_one_error(tmp_path):
    _, w, _, _ = drawn(6, "afrcnn/concat", (1, 901))
    del w["sm.blocks.res_conv.bias"]
    torch.save({**w, "sm.blocks.extra.weight": torch.zeros(1)}, tmp_path / "bare.pth")
    with pytest.raises(CheckpointError) as caught:
        import_checkpoint(tmp_path / "bare.pth", overrides={"n_iterations": 3})
    for key in ("sm.blocks.res_conv.bias", "sm.blocks.extra.weight"):
        assert key in str(caught.value)
