"""Conv-TasNet and DPRNN: sizes as printed, and the equations written out."""

import pytest
import torch

from unmingle.models import build_model
from unmingle.models.dprnn import DPRNN
from unmingle.presets import PRESETS, ConvTasNetConfig, DPRNNConfig


@pytest.mark.parametrize(
    ("name", "millions"), [("conv-tasnet", "5.1"), *((name, "2.6") for name in PRESETS if name.startswith("dprnn"))]
)
def test_a_preset_has_the_size_that_its_paper_prints(name, millions):
    with torch.device("meta"):
        network = build_model(PRESETS[name])
    assert f"{sum(parameter.numel() for parameter in network.parameters()) / 1e6:.1f}" == millions


def test_conv_tasnet_masks_its_filters_by_the_sum_of_skips():
    torch.manual_seed(0)
    config = ConvTasNetConfig(window=4, n_basis=5, channels=6, skip=3, hidden=7, depth=2, n_repeats=2)
    network = build_model(config).double().eval()
    mixture = torch.randn(2, 40, dtype=torch.float64)

    def norm(x):
        return torch.nn.functional.group_norm(x, 1, eps=1e-8)  # the gains are 1 and the offsets 0 at first

    def matrix(layer, x):
        return torch.einsum("oi,bit->bot", layer.weight[:, :, 0], x) + layer.bias[:, None]

    windows = torch.nn.functional.pad(mixture, (2, 2)).unfold(1, 4, 2)  # (B, T, L)
    filters = torch.einsum("btl,nl->bnt", windows, network.front_end.encoder.weight[:, 0])
    x, total = matrix(network.bottleneck, norm(filters)), 0
    for number, block in enumerate(network.blocks):
        y = norm(block.widen[1](matrix(block.widen[0], x)))
        hole = 2 ** (number % 2)
        taps = torch.nn.functional.pad(y, (hole, hole))
        y = sum(block.filter.weight[:, 0, tap, None] * taps[..., tap * hole :][..., : y.shape[-1]] for tap in range(3))
        y = norm(block.act[0](y + block.filter.bias[:, None]))
        x, total = x + matrix(block.residual, y), total + matrix(block.skip, y)
    masks = matrix(network.mask[1], network.mask[0](total)).sigmoid().view(2, 2, 5, -1)
    frames = torch.einsum("bsnt,nl->bstl", masks * filters[:, None], network.front_end.decoder.weight[:, 0])
    wanted = torch.zeros(2, 2, 44, dtype=torch.float64)
    for frame in range(frames.shape[2]):
        wanted[..., 2 * frame : 2 * frame + 4] += frames[:, :, frame]
    torch.testing.assert_close(network(mixture), wanted[..., 2:42])


def test_dprnn_cuts_every_frame_into_two_chunks_and_joins_them_again():
    network = DPRNN(DPRNNConfig(window=4, n_basis=3, hidden=2, chunk=6, n_blocks=1))
    for length in (1, 3, 6, 7, 20):
        x = torch.randn(2, 3, length)
        chunks = network.cut(x)
        assert chunks.shape[2:] == (6, 3)
        torch.testing.assert_close(network.join(chunks.permute(0, 3, 1, 2), length), 2 * x)


def test_dprnn_hears_within_chunks_first_and_then_across_them():
    torch.manual_seed(0)
    network = DPRNN(DPRNNConfig(n_basis=4, hidden=3, chunk=6, n_blocks=1)).eval()
    block, given = network.blocks[0], torch.randn(1, 5, 6, 4)
    heard = [block.intra.linear(block.intra.lstm.lstm(chunk[None])[0])[0] for chunk in given[0]]
    x = given + block.intra.norm(torch.stack(heard)[None].permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    heard = [block.inter.linear(block.inter.lstm.lstm(place[None])[0])[0] for place in x[0].transpose(0, 1)]
    x = x + block.inter.norm(torch.stack(heard, dim=1)[None].permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    torch.testing.assert_close(network.blocks(given), x)
