import torch

from unmingle.layers.norm import ChannelNorm, FrameNorm, GlobalLayerNorm, RMSNorm


def _by_the_formula(x: torch.Tensor, norm: GlobalLayerNorm) -> torch.Tensor:
    mean = x.mean(dim=(1, 2), keepdim=True)
    variance = ((x - mean) ** 2).mean(dim=(1, 2), keepdim=True)
    return norm.weight[:, None] * (x - mean) / torch.sqrt(variance + 1e-8) + norm.bias[:, None]


def test_gln_is_the_published_formula():
    torch.manual_seed(0)
    norm = GlobalLayerNorm(6)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = 3 + torch.randn(2, 6, 50)
    torch.testing.assert_close(norm(x), _by_the_formula(x, norm), rtol=0, atol=1e-5)


def test_gln_keeps_its_small_epsilon_for_quiet_maps():
    norm = GlobalLayerNorm(4)
    x = 1e-4 * torch.randn(1, 4, 100, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(norm(x), _by_the_formula(x, norm), rtol=0, atol=1e-4)
    assert norm(x).std() < 0.8  # eps has the size of this variance, and shows


def test_gln_starts_as_plain_normalisation():
    norm = GlobalLayerNorm(5)
    y = norm(torch.randn(3, 5, 40))
    torch.testing.assert_close(y.mean(dim=(1, 2)), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(y.var(dim=(1, 2), correction=0), torch.ones(3), rtol=1e-4, atol=0)


def test_gln_ignores_the_neighbours_in_a_batch():
    norm = GlobalLayerNorm(3)
    x = torch.randn(4, 3, 20)
    alone = torch.cat([norm(one) for one in x.split(1)])
    torch.testing.assert_close(norm(x), alone, rtol=0, atol=1e-6)


def test_gln_of_silence_is_its_offset():
    norm = GlobalLayerNorm(3)
    torch.nn.init.constant_(norm.bias, 0.5)
    torch.testing.assert_close(norm(torch.zeros(1, 3, 10)), torch.full((1, 3, 10), 0.5), rtol=0, atol=0)


def test_gln_costs_one_operation():
    graph = torch.fx.symbolic_trace(GlobalLayerNorm(3)).graph
    calls = [node for node in graph.nodes if node.op in {"call_function", "call_method", "call_module"}]
    assert [node.target for node in calls] == [torch.nn.functional.group_norm]


def test_rms_norm_divides_by_the_root_mean_square_and_keeps_the_mean():
    norm, x = RMSNorm(6), torch.randn(2, 5, 6) + 3
    torch.nn.init.normal_(norm.weight)
    expected = x * (x.square().mean(-1, keepdim=True) + 1e-5).rsqrt() * norm.weight
    torch.testing.assert_close(norm(x), expected)


def test_channel_norm_knows_no_other_frame_or_bin():
    norm, x = ChannelNorm(6, eps=1e-3), torch.randn(2, 6, 4, 5)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    expected = (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True, unbiased=False) + 1e-3).sqrt()
    expected = expected * norm.weight.view(-1, 1, 1) + norm.bias.view(-1, 1, 1)
    torch.testing.assert_close(norm(x), expected)
    torch.testing.assert_close(norm(x[..., 0]), norm(x)[..., 0])


def test_frame_norm_is_over_channels_and_bins_of_one_frame_and_group():
    norm, x = FrameNorm(6, 5, groups=2, eps=1e-3), torch.randn(2, 6, 4, 5)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    for group, part in enumerate(x.chunk(2, dim=1)):
        mean, variance = part.mean((1, 3), keepdim=True), part.var((1, 3), keepdim=True, unbiased=False)
        expected = (part - mean) / (variance + 1e-3).sqrt()
        expected = expected * norm.weight[group].unsqueeze(1) + norm.bias[group].unsqueeze(1)
        torch.testing.assert_close(norm(x).chunk(2, dim=1)[group], expected)
