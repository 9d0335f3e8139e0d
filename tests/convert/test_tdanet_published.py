"""The public TDANet files written a second time, as plain functions over their own tensor names, at any sizes."""

import json
import math

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from unmingle.convert import import_checkpoint
from unmingle.convert.check import check_file
from unmingle.errors import CheckpointError, ConfigError

FORMS = ("tdanet/best", "tdanet/paper", "tdanet/code", "tdanet/sonicsim")
SIZES = {
    "out_channels": 6,
    "in_channels": 16,
    "num_blocks": 2,
    "upsampling_depth": 4,
    "enc_kernel_size": 4,
    "num_sources": 2,
}
POSITIONS = "sm.unet.globalatt.attn.pos_enc.pe"


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


class Network:
    """One public class; `w` holds its tensors."""

    def __init__(self, w, family, arguments, sample_rate):
        self.w, self.form, self.rate = w, family.removeprefix("tdanet/"), sample_rate
        self.arguments = arguments
        self.gain, self.shift = ("gamma", "beta") if self.form in ("best", "sonicsim") else ("weight", "bias")

    def conv(self, key, x, out, kernel=1, stride=1, groups=1, *, bias=True):
        weight = self.w.get_drawn(f"{key}.weight", (out, x.shape[1] // groups, kernel))
        offset = self.w.get_drawn(f"{key}.bias", (out,), spread=0.1) if bias else None
        return F.conv1d(x, weight, offset, stride, kernel // 2, 1, groups)

    def affine(self, key, size, gain="weight", shift="bias"):
        return self.w.get_drawn(f"{key}.{gain}", (size,), 1, 0.2), self.w.get_drawn(f"{key}.{shift}", (size,), 0, 0.2)

    def gln(self, key, x):
        mean, var = x.mean((1, 2), keepdim=True), x.var((1, 2), keepdim=True, correction=0)
        gain, shift = self.affine(key, x.shape[1], self.gain, self.shift)
        return (x - mean) / (var + 1e-8).sqrt() * gain[:, None] + shift[:, None]

    def layer_norm(self, key, x):
        return F.layer_norm(x, x.shape[-1:], *self.affine(key, x.shape[-1]), 1e-5)

    def prelu(self, key, x):
        return F.prelu(x, self.w.get_drawn(f"{key}.weight", (1,), 0.25, 0.1))

    def unit(self, key, x, out, kernel=1, stride=1, groups=1, *, bias=True):
        return self.gln(f"{key}.norm", self.conv(f"{key}.conv", x, out, kernel, stride, groups, bias=bias))

    def depthwise(self, key, x, kernel):
        return self.unit(key, x, x.shape[1], kernel, 1, x.shape[1], bias=False)

    def attend(self, x):
        """(B, L, C) -> (B, L, C); the axis attended over is time in the paper's form and the batch in all others."""
        key, size, heads = "sm.unet.globalatt.attn", x.shape[-1], 8
        v = self.layer_norm(f"{key}.attn_in_norm", x) + self.positions(size)[: x.shape[1]]
        weight = self.w.get_drawn(f"{key}.attn.in_proj_weight", (3 * size, size))
        bias = self.w.get_drawn(f"{key}.attn.in_proj_bias", (3 * size,), spread=0.1)
        v = v if self.form == "paper" else v.transpose(0, 1)
        query, keys, values = ((v @ weight.T + bias).unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)).unbind()
        weights = (query @ keys.mT / math.sqrt(size // heads)).softmax(-1)
        mixed = (weights @ values).transpose(1, 2).flatten(-2)
        mixed = mixed if self.form == "paper" else mixed.transpose(0, 1)
        weight = self.w.get_drawn(f"{key}.attn.out_proj.weight", (size, size))
        mixed = mixed @ weight.T + self.w.get_drawn(f"{key}.attn.out_proj.bias", (size,), spread=0.1)
        return self.layer_norm(f"{key}.norm", 2 * mixed)

    def positions(self, size):
        angle = torch.arange(10_000)[:, None] * torch.exp(torch.arange(0, size, 2) * (-math.log(10_000) / size))
        return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)

    def feed_forward(self, x):
        key, size = "sm.unet.globalatt.mlp", x.shape[1]
        x = self.unit(f"{key}.fc1", x, 2 * size, bias=False)
        x = self.conv(f"{key}.dwconv", x, 2 * size, 5, 1, 2 * size).relu()
        return self.unit(f"{key}.fc2", x, size, bias=False)

    def fuse(self, key, local, top, kernel):
        gated = self.depthwise(f"{key}.local_embedding", local, kernel) * up(
            self.depthwise(f"{key}.global_act", top, kernel).sigmoid(), local
        )
        if self.form == "sonicsim" and ".loc_glo_fus." in key:
            return gated
        return gated + up(self.depthwise(f"{key}.global_embedding", top, kernel), local)

    def modulate(self, k, local, top):
        match self.form:
            case "paper":
                return up(top, local).sigmoid() * local
            case "code":
                return up(top, local) + local
        return self.fuse(f"sm.unet.loc_glo_fus.{k}", local, top, 1)

    def block(self, q):
        hidden, depth = self.arguments["in_channels"], self.arguments["upsampling_depth"]
        h = self.prelu("sm.unet.proj_1x1.act", self.unit("sm.unet.proj_1x1", q, hidden))
        y = [self.unit("sm.unet.spp_dw.0", h, hidden, 5, 1, hidden)]
        for k in range(1, depth):
            y.append(self.unit(f"sm.unet.spp_dw.{k}", y[-1], hidden, 5, 2, hidden))
        g = sum(F.adaptive_avg_pool1d(each, y[-1].shape[-1]) for each in y)
        g = g + self.attend(g.mT).mT
        g = g + self.feed_forward(g)
        x = [self.modulate(k, each, g) for k, each in enumerate(y)]
        e = x[depth - 1] if self.form == "paper" else x[depth - 3]
        for i in reversed(range(depth - 1)):
            e = self.fuse(f"sm.unet.last_layer.{i}", x[i], e, 5)
        return self.conv("sm.unet.res_conv", e, q.shape[1]) + q

    def unfold(self, x0):
        x = self.block(x0)
        for step in range(max(1, self.arguments["num_blocks"] - 1)):
            phi = self.prelu("sm.concat_block.1", self.conv("sm.concat_block.0", x0 + x, len(x0[0]), groups=len(x0[0])))
            x = self.block(phi) if step < self.arguments["num_blocks"] - 1 else x  # phi is there, unused, when run once
        return x

    def run(self, mixture):
        """(batch, time) -> (batch, n_src, time)."""
        kernel = self.arguments["enc_kernel_size"] * self.rate // 1000
        stride, n_basis, n_src = kernel // 4, kernel // 2 + 1, self.arguments["num_sources"]
        rest = kernel - (stride + mixture.shape[-1] % kernel) % kernel
        padded = F.pad(mixture, (kernel - stride, rest + kernel - stride))[:, None]
        encoded = F.conv1d(padded, self.w.get_drawn("encoder.weight", (n_basis, 1, kernel)), None, stride, kernel // 2)
        # The wrapper's own gLN is called gamma and beta in every class.
        x = self.conv("bottleneck", self.outer_norm(encoded), self.arguments["out_channels"])
        x = self.prelu("mask_net.0", self.unfold(x))
        masks = self.conv("mask_net.1", x, n_src * n_basis).unflatten(1, (n_src, n_basis)).relu()
        decoder = self.w.get_drawn("decoder.weight", (n_src * n_basis, n_src, kernel), spread=0.1)
        estimates = F.conv_transpose1d((masks * encoded[:, None]).flatten(1, 2), decoder, None, stride, kernel // 2)
        return estimates[..., kernel - stride : -(rest + kernel - stride)]

    def outer_norm(self, x):
        return self.gln("ln", x)


def up(x, like):
    return F.interpolate(x, size=like.shape[-1], mode="nearest")


def published(w, family, arguments, mixture):
    arguments = dict(arguments)
    return Network(w, family, arguments, arguments.pop("sample_rate")).run(mixture)


def drawn(seed, family, shape, *, sample_rate=8000, **changes):
    """Arguments, tensors, input and output of a network with drawn weights, the output scaled to one."""
    arguments = {**SIZES, **changes, "sample_rate": sample_rate}
    w, mixture = Drawn(seed), torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    rows = mixture.reshape(-1, shape[-1])
    loudest = published(w, family, arguments, rows).abs().max()
    w["decoder.weight"] /= loudest
    output = published(w, family, arguments, rows)
    return arguments, w, mixture, output[0] if len(shape) == 1 else output


def vector(path, seed, family, shape, *, positions=False, **changes):
    """Write the vector file of a network with drawn weights."""
    arguments, w, mixture, output = drawn(seed, family, shape, **changes)
    tensors = {f"state/{key}": value.contiguous() for key, value in w.items()}
    if positions:
        network = Network(w, family, arguments, arguments["sample_rate"])
        tensors[f"state/{POSITIONS}"] = network.positions(arguments["in_channels"])[None].contiguous()
    spec = {"family": family, "config": arguments, "sample_rate": arguments["sample_rate"]}
    spec["omitted_state_keys"] = [] if positions else [POSITIONS]
    tensors |= {"input": mixture, "output": output.contiguous()}
    save_file(tensors, path, metadata={"spec": json.dumps(spec)})
    return path


CASES = [
    *((family, (2, 1, 3001), {"positions": positions}) for family in FORMS for positions in (True, False)),
    *((family, (2, 901), {"upsampling_depth": depth}) for family in FORMS for depth in (2, 3, 5, 6)),
    *((family, (800,), {"enc_kernel_size": 2, "sample_rate": 16_000}) for family in FORMS),
    *((family, (3, 1, 500), {"num_sources": 3, "num_blocks": 1, "in_channels": 24}) for family in FORMS),
    *((family, (1, length), {}) for family in FORMS for length in (1, 7, 8, 31, 32, 33, 64)),
    ("tdanet/best", (2, 700), {"num_blocks": 16, "upsampling_depth": 5}),
    ("tdanet/best", (2, 700), {"out_channels": 16, "num_sources": 1}),
]


@pytest.mark.parametrize(("family", "shape", "changes"), CASES, ids=str)
def test_the_converted_network_follows_the_description(tmp_path, family, shape, changes):
    verdict = check_file(vector(tmp_path / "v.safetensors", 5, family, shape, **changes))
    assert verdict.ok, verdict.reason or verdict


CLASSES = {"tdanet/best": "TDANetBest", "tdanet/paper": "TDANetOld", "tdanet/code": "TDANet"}


@pytest.mark.parametrize("family", CLASSES)
def test_a_published_file_is_imported_from_its_own_arguments(tmp_path, family):
    arguments, w, mixture, output = drawn(6, family, (1, 901))
    content = {"model_name": CLASSES[family], "state_dict": dict(w), "model_args": arguments, "infos": []}
    torch.save(content, tmp_path / "pytorch_model.bin")
    model = import_checkpoint(tmp_path / "pytorch_model.bin")
    with torch.inference_mode():
        torch.testing.assert_close(model(mixture), output, rtol=0, atol=2e-5)
    assert (model.config.sample_rate, model.config.n_iterations, model.config.hidden) == (8000, 2, 16)


def test_a_file_of_the_training_program_needs_the_number_of_iterations(tmp_path):
    _, w, mixture, output = drawn(6, "tdanet/best", (1, 901), sample_rate=16_000, enc_kernel_size=2)
    state = {f"audio_model.{key}": value for key, value in w.items()}
    content = {"model_name": "TDANetBest", "state_dict": state, "model_args": {"n_src": 2}}
    torch.save(content, tmp_path / "best_model.pth")
    with pytest.raises(ConfigError, match=r"n_iterations.*16"):
        import_checkpoint(tmp_path / "best_model.pth")
    model = import_checkpoint(tmp_path / "best_model.pth", overrides={"n_iterations": 2, "sample_rate": 16_000})
    with torch.inference_mode():
        torch.testing.assert_close(model(mixture), output, rtol=0, atol=2e-5)


@pytest.mark.parametrize("wrong", [{"num_blocks": "many"}, {"sample_rate": 0}, {"num_blocks": -1}])
def test_arguments_that_make_no_network_are_refused(tmp_path, wrong):
    arguments, w, _, _ = drawn(6, "tdanet/best", (1, 901))
    content = {"model_name": "TDANetBest", "state_dict": dict(w), "model_args": {**arguments, **wrong}}
    torch.save(content, tmp_path / "best_model.pth")
    with pytest.raises(ConfigError):
        import_checkpoint(tmp_path / "best_model.pth")


def test_two_classes_with_the_same_tensors_are_told_apart_by_name_only(tmp_path):
    _, w, mixture, output = drawn(6, "tdanet/paper", (2, 901))
    torch.save(dict(w), tmp_path / "bare.pth")
    given = {"n_iterations": 2, "sample_rate": 8000}
    with pytest.raises(CheckpointError, match=r"TDANetOld"):
        import_checkpoint(tmp_path / "bare.pth", overrides=given)
    for choice in ({"name": "TDANetOld", "overrides": given}, {"overrides": {**given, "form": "paper"}}):
        model = import_checkpoint(tmp_path / "bare.pth", **choice)
        with torch.inference_mode():
            torch.testing.assert_close(model(mixture), output, rtol=0, atol=2e-5)


def test_missing_and_surplus_tensors_are_listed_in_one_error(tmp_path):
    _, w, _, _ = drawn(6, "tdanet/best", (1, 901))
    del w["sm.unet.res_conv.bias"], w["ln.gamma"]
    torch.save({**w, "sm.unet.extra.weight": torch.zeros(1)}, tmp_path / "bare.pth")
    with pytest.raises(CheckpointError) as caught:
        import_checkpoint(tmp_path / "bare.pth", overrides={"n_iterations": 2, "sample_rate": 8000})
    for key in ("sm.unet.res_conv.bias", "ln.", "sm.unet.extra.weight"):
        assert key in str(caught.value)
