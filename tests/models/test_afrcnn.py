"""What every form of the family promises, and what makes each connection scheme what it is."""

from dataclasses import replace

import pytest
import torch

from unmingle.errors import ConfigError, ShapeError
from unmingle.models.afrcnn import AFRCNN, SCHEMES, Phi
from unmingle.presets.afrcnn import AFRCNNConfig

TINY = AFRCNNConfig(n_basis=8, channels=6, hidden=8, depth=3, n_iterations=2)
ATOL = 1e-5

FORMS = [
    *(replace(TINY, scheme=scheme) for scheme in SCHEMES),
    *(replace(TINY, scheme=scheme, method="A") for scheme in ("asynchronous", "synchronous", "control-1", "unet")),
    replace(TINY, lateral="depthwise"),
    *(
        replace(TINY, unfolding=unfolding, phi=phi)
        for unfolding in ("DC", "CC", "SC")
        for phi in ("depthwise", "dense")
    ),
    replace(TINY, scheme="synchronous", unfolding="CC", phi="dense"),
    replace(TINY, phi="none"),
    replace(TINY, n_src=3, window=41, depth=4, sample_rate=16_000),
    replace(TINY, window=16),
    replace(TINY, tied=False, n_iterations=3),
    replace(TINY, window=32, method="A", scheme="control-2", n_iterations=3),
]


def _name(config: AFRCNNConfig) -> str:
    changed = {name: value for name, value in vars(config).items() if value != getattr(TINY, name)}
    return "-".join(f"{name}={value}" for name, value in changed.items()) or "plain"


def _built(config: AFRCNNConfig) -> AFRCNN:
    torch.manual_seed(0)
    model = AFRCNN(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, mean=parameter.mean().item(), std=0.3)
    return model


def _mixture(batch: int = 2, time: int = 400) -> torch.Tensor:
    return torch.randn(batch, time, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("config", FORMS, ids=_name)
def test_every_form_keeps_length_stays_finite_and_ignores_neighbours(config):
    model, mixture = _built(config), _mixture()
    with torch.no_grad():
        together = model(mixture)
        alone = torch.cat([model(one) for one in mixture.split(1)])
        silence = model(torch.zeros(1, 100))
        short = model(mixture[:, : config.window])
    assert together.shape == (2, config.n_src, 400)
    assert short.shape == (2, config.n_src, config.window)
    torch.testing.assert_close(together, alone, rtol=0, atol=ATOL)
    assert silence.isfinite().all()
    assert together.abs().max() > 1e-3


@pytest.mark.parametrize("config", FORMS, ids=_name)
def test_gradient_reaches_every_parameter_of_every_form(config):
    model = _built(config)
    model(_mixture()).square().sum().backward()
    still = {name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()}
    assert still == set()


@pytest.mark.parametrize("scheme", ["asynchronous", "asynchronous-sum", "control-1", "unet-code"])
def test_fusing_early_is_the_same_network(scheme):
    late = _built(replace(TINY, scheme=scheme))
    early = AFRCNN(replace(TINY, scheme=scheme, fuse_early=True)).eval()
    early.load_state_dict(late.state_dict())
    with torch.no_grad():
        expected, found = late(_mixture()), early(_mixture())
    scale = expected.abs().max()
    torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=2e-6)


@pytest.mark.parametrize("time", [1, 20, 21, 22, 79, 80, 81, 401])
def test_any_length_comes_back_as_it_went_in(time):
    model = _built(TINY)
    with torch.no_grad():
        assert model(_mixture(1, time)).shape == (1, 2, time)


def test_zeros_behind_a_mixture_change_nothing_up_to_the_padding():
    model, mixture = _built(TINY), _mixture(1, 390)
    longer = torch.nn.functional.pad(mixture, (0, 10))  # 400 is a whole number of frames at every stage
    with torch.no_grad():
        torch.testing.assert_close(model(mixture), model(longer)[..., :390], rtol=0, atol=ATOL)


@pytest.mark.parametrize("shape", [(400,), (2, 1, 400), (2, 0)])
def test_a_mixture_of_another_rank_or_without_samples_is_refused(shape):
    with pytest.raises(ShapeError, match="batch, time"):
        AFRCNN(TINY)(torch.zeros(shape))


@pytest.mark.parametrize("n_iterations", [1, 2, 5])
def test_the_one_block_runs_as_often_as_it_is_unfolded(n_iterations):
    model, runs = _built(replace(TINY, n_iterations=n_iterations)), []
    model.separator.block.register_forward_hook(lambda *_: runs.append(None))
    model(_mixture())
    assert len(runs) == n_iterations


def test_a_synchronous_network_unfolds_the_exchange_and_shares_phi_between_stages():
    model, runs, joins = _built(replace(TINY, scheme="synchronous", n_iterations=4)), [], []
    model.separator.block.mix.register_forward_hook(lambda *_: runs.append(None))
    model.separator.phi.register_forward_hook(lambda *_: joins.append(None))
    model(_mixture())
    assert len(runs) == 4
    assert len(joins) == 3 * TINY.depth


def test_an_untied_network_runs_every_block_once_and_starts_as_the_tied_one():
    tied, runs = _built(replace(TINY, n_iterations=3)), []
    untied = AFRCNN(replace(tied.config, tied=False)).eval()
    given = tied.state_dict()
    untied.load_state_dict({key: given[untied.name_when_tied(key)] for key in untied.state_dict()})
    for block in untied.unfolded_blocks():
        block.register_forward_hook(lambda block, *_: runs.append(block))
    with torch.no_grad():
        torch.testing.assert_close(untied(_mixture()), tied(_mixture()), rtol=0, atol=0)
        assert runs == list(untied.separator.block)
        before = untied(_mixture())
        untied.separator.block[1].restore.bias.add_(1.0)
        assert not torch.equal(untied(_mixture()), before)


def test_phi_is_unused_where_nothing_is_unfolded():
    model = _built(replace(TINY, n_iterations=1))
    model(_mixture()).sum().backward()
    idle = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert idle == model.unused_parameters() != set()
    assert not _built(TINY).unused_parameters()


@pytest.mark.parametrize(
    ("unfolding", "initial_counts", "last_counts"), [("DC", False, True), ("CC", True, True), ("SC", True, True)]
)
def test_phi_reads_what_the_unfolding_says(unfolding, initial_counts, last_counts):
    torch.manual_seed(0)
    phi = Phi(replace(TINY, unfolding=unfolding, phi="dense"), 6)
    initial, last = torch.randn(2, 1, 6, 9)
    before = phi(initial, last)
    assert torch.equal(phi(initial + 1, last), before) != initial_counts
    assert torch.equal(phi(initial, last + 1), before) != last_counts


def test_grouped_concatenation_joins_pairs_of_neighbouring_channels():
    phi = Phi(replace(TINY, unfolding="CC"), 6)
    initial, last = torch.randn(1, 6, 4), torch.randn(1, 6, 4)
    touched = (phi(initial, last) != phi(initial, last + 1)).any(-1)[0]
    assert touched.tolist() == [False, False, False, True, True, True]  # no channel mixes the two


def _reads(mixer: torch.nn.Module, stage: int) -> list[int]:
    """Stages that the map of one stage depends on after mixing, by gradient."""
    maps = [torch.randn(1, 8, 16 >> k, requires_grad=True) for k in range(4)]
    gradients = torch.autograd.grad(mixer(maps)[stage].square().sum(), maps, allow_unused=True)
    return [k for k, gradient in enumerate(gradients) if gradient is not None and gradient.any()]


@pytest.mark.parametrize(
    ("scheme", "reads"),
    [
        ("asynchronous", [[0, 1], [0, 1, 2], [1, 2, 3], [2, 3]]),
        ("asynchronous-sum", [[0, 1], [0, 1, 2], [1, 2, 3], [2, 3]]),
        ("synchronous", [[0, 1, 2, 3]] * 4),
        ("synchronous-no-skip", [[0, 1], [0, 1, 2], [1, 2, 3], [2, 3]]),
        ("control-1", [[0, 1, 2, 3]] * 4),
        ("control-2", [[0, 1, 2, 3], [0, 1, 2, 3], [1, 2, 3], [2, 3]]),
        ("unet", [[0, 1, 2, 3], [1, 2, 3], [2, 3], [3]]),
        ("unet-delay", [[0, 1, 2, 3], [1, 2, 3], [2, 3], [3]]),
        ("sfrcnn-code", [[0], [1], [2], [3]]),
        ("unet-code", [[0, 1, 2, 3], [1, 2, 3], [2, 3], [3]]),
        ("unet-delay-code", [[0, 1, 2, 3], [1, 2, 3], [2, 3], [3]]),
    ],
)
def test_a_scheme_connects_the_stages_it_should(scheme, reads):
    torch.manual_seed(0)
    mix, _ = SCHEMES[scheme](replace(TINY, depth=4))
    assert [_reads(mix, stage) for stage in range(4)] == reads


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scheme": "asynchronus"}, "did you mean 'asynchronous'"),
        ({"method": "C"}, "A, B"),
        ({"n_iterations": 0}, "n_iterations is 0"),
        ({"depth": 1}, "at least 2"),
        ({"unfolding": "CC", "phi": "none"}, "cannot be 'none'"),
        ({"scheme": "synchronous", "tied": False}, "tied cannot be false"),
    ],
)
def test_an_impossible_configuration_is_refused_in_words(change, said):
    with pytest.raises(ConfigError, match=said):
        replace(TINY, **change)


@pytest.mark.parametrize("traced", [400, 401], ids=["whole", "ragged"])
def test_an_exported_graph_takes_other_batches_and_lengths(traced):
    model, auto = _built(TINY), torch.export.Dim.AUTO
    graph = torch.export.export(model, (_mixture(2, traced),), dynamic_shapes={"mixture": {0: auto, 1: auto}}).module()
    with torch.no_grad():
        for time in (1237, 1280):
            mixture = _mixture(3, time)
            torch.testing.assert_close(graph(mixture), model(mixture), rtol=0, atol=ATOL)
