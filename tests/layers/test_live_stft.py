import pytest
import torch

from unmingle.errors import ShapeError
from unmingle.layers.live_stft import LiveISTFT, LiveSTFT
from unmingle.layers.stft import STFT

SIZES = [(16, 4), (16, 8), (16, 5), (20, 3), (8, 1)]


def live_planes(signal, window, hop, n):
    """Analysis, n hops at a time."""
    live = LiveSTFT(window, hop)
    state, hops, parts = live.init_state(len(signal), like=signal), 0, []
    while (hops + n) * hop <= signal.shape[1]:
        planes, state = live.step(signal[:, hops * hop : (hops + n) * hop], state, hops=hops)
        parts.append(planes)
        hops += n
    whole = signal.shape[1] // hop - hops
    if whole:
        planes, state = live.step(signal[:, hops * hop : (hops + whole) * hop], state, hops=hops)
        parts.append(planes)
        hops += whole
    return torch.cat([*parts, live.finish(signal[:, hops * hop :], state, hops=hops)], dim=2)


@pytest.mark.parametrize(("window", "hop"), SIZES)
@pytest.mark.parametrize("n", [1, 2, 5])
def test_frames_come_hop_by_hop_as_they_come_at_once(window, hop, n):
    for length in (window // 2 + 1, window // 2 + 2, window, window + hop, 5 * window + 1):
        signal = torch.randn(2, length, dtype=torch.float64)
        torch.testing.assert_close(live_planes(signal, window, hop, n), STFT(window, hop)(signal), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("window", "hop"), SIZES)
@pytest.mark.parametrize("n", [1, 3])
def test_samples_come_frame_by_frame_as_they_come_at_once(window, hop, n):
    length = 5 * window + 1
    planes = STFT(window, hop)(torch.randn(6, length, dtype=torch.float64)) * 1.5
    live = LiveISTFT(window, hop)
    state, parts = live.init_state(2, 3, like=planes), []
    for start in range(0, planes.shape[2], n):
        samples, state = live.step(planes.unflatten(0, (2, 3))[:, :, :, start : start + n], state)
        parts.append(samples)
    joined = torch.cat([*parts, live.finish(state)], dim=2)[..., window // 2 :]  # it begins half a window early
    expected = STFT(window, hop).inverse(planes, length).unflatten(0, (2, 3))
    torch.testing.assert_close(joined[..., :length], expected, rtol=0, atol=1e-12)


def test_a_frame_comes_as_soon_as_its_samples_are_there():
    live = LiveSTFT(16, 4)
    state = live.init_state(1, like=torch.zeros(1))
    counts = []
    for hops in range(5):
        planes, state = live.step(torch.randn(1, 4), state, hops=hops)
        counts.append(planes.shape[2])
    assert counts == [0, 1, 1, 1, 1]  # frame 0 leans on samples up to 7


def test_a_signal_too_short_to_be_mirrored_is_refused():
    live = LiveSTFT(16, 4)
    with pytest.raises(ShapeError, match=r"8 samples.*9 are the least"):
        live.finish(torch.zeros(1, 0), live.init_state(1, like=torch.zeros(1)), hops=2)
