from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unmingle.errors import CheckpointError
from unmingle.inference.report import SeparationOptions
from unmingle.inference.windows import WindowedSeparation

RATE = 8000

TEN = SeparationOptions(window_seconds=10.0)


def separate(model, mixture, *, options=None, cuts=()):
    windows = WindowedSeparation(model.run, n_src=model.n_src, sample_rate=RATE, options=options or TEN)
    edges = [0, *sorted(cuts), len(mixture)]
    pieces = [piece for a, b in pairwise(edges) for piece in windows.push(mixture[a:b])]
    pieces += windows.push(mixture[:0], last=True)
    return np.concatenate(pieces, axis=1), windows


def test_a_network_that_shuffles_its_tracks_comes_out_without_a_swap(voices, oracle):
    for seed in range(5):
        estimates, windows = separate(oracle(voices[:2], seed=seed, leak=0.0), voices[:2].sum(axis=0))
        assert windows.n_windows >= 4
        best = estimates if np.vdot(estimates[0], voices[0]) > np.vdot(estimates[1], voices[0]) else estimates[::-1]
        np.testing.assert_allclose(best, voices[:2], atol=0.01)


def test_three_voices_stay_on_three_tracks(voices, oracle):
    estimates, _ = separate(oracle(voices, leak=0.0), voices.sum(axis=0))
    order = [int(np.argmax(estimates @ voice)) for voice in voices]
    assert sorted(order) == [0, 1, 2]
    np.testing.assert_allclose(estimates[order], voices, atol=0.02)


def test_a_voice_that_is_silent_in_the_overlaps_stays_on_its_track(voices, oracle):
    sources = voices[:2].copy()
    second = np.arange(sources.shape[1]) / RATE
    sources[1, (second % 7.5 < 3.0) | (second % 7.5 > 6.5)] = 0.0
    estimates, _ = separate(oracle(sources, leak=0.0), sources.sum(axis=0))
    order = [int(np.argmax(estimates @ voice)) for voice in sources]
    assert sorted(order) == [0, 1]
    np.testing.assert_allclose(estimates[order], sources, atol=0.01)


@pytest.mark.parametrize("seed", range(4))
def test_voices_are_known_again_after_a_pause_longer_than_any_overlap(voices, oracle, seed):
    sources = voices[:2].copy()
    sources[:, 12 * RATE : 24 * RATE] = 0.0
    estimates, _ = separate(oracle(sources, seed=seed, noise=0.01), sources.sum(axis=0))
    before = estimates[:, : 12 * RATE] @ sources[:, : 12 * RATE].T
    after = estimates[:, 24 * RATE :] @ sources[:, 24 * RATE :].T
    np.testing.assert_array_equal(before.argmax(axis=0), after.argmax(axis=0))


def test_windows_wait_for_speech_to_compare(voices, oracle):
    sources = voices[:2].copy()
    sources[:, 7 * RATE : 10 * RATE] = 0.0  # a pause at the end of the first window, longer than the usual overlap
    model = oracle(sources)
    separate(model, sources.sum(axis=0))
    assert model.engine.windows[0] == (0, 10 * RATE)
    assert model.engine.windows[1][0] <= 6 * RATE + RATE // 4


@pytest.mark.parametrize("seconds", [0.5, 9.999, 10.0, 10.001, 17.5, 17.6, 25.0])
def test_every_length_comes_back_whole(voices, oracle, seconds):
    sources = voices[:2, : round(seconds * RATE)]
    estimates, windows = separate(oracle(sources, shuffle=False, leak=0.0), sources.sum(axis=0))
    assert estimates.shape == sources.shape
    assert windows.n_windows >= 1
    np.testing.assert_allclose(estimates, sources, atol=0.01)


@given(cuts=st.lists(st.integers(0, 26 * RATE), max_size=6))
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_result_does_not_depend_on_the_blocks(voices, oracle, cuts):
    sources = voices[:2, : 26 * RATE]
    mixture = sources.sum(axis=0)
    model = oracle(sources)
    model.engine = lambda heard: np.stack([np.maximum(heard, 0), np.minimum(heard, 0)], axis=1)
    whole, _ = separate(model, mixture)
    pieces, _ = separate(model, mixture, cuts=cuts)
    np.testing.assert_array_equal(pieces, whole)


def test_no_more_than_two_windows_are_kept(voices, oracle):
    model = oracle(voices[:2])
    windows = WindowedSeparation(model.run, n_src=2, sample_rate=RATE, options=TEN)
    kept = 0
    for start in range(0, voices.shape[1], RATE):
        windows.push(voices[:2, start : start + RATE].sum(axis=0))
        kept = max(kept, windows._kept.shape[0])
    assert kept <= 2 * 10 * RATE


def test_windows_that_agree_are_trusted_and_others_are_not(voices, oracle):
    mixture = voices[:2].sum(axis=0)
    _, windows = separate(oracle(voices[:2], leak=0.0), mixture)
    assert min(windows.agreement.confidence()) > 0.99
    guessing = oracle(voices[:2])
    rng = np.random.default_rng(0)
    guessing.engine = lambda heard: rng.standard_normal((1, 2, heard.shape[1])).astype(np.float32)
    _, windows = separate(guessing, mixture)
    assert max(windows.agreement.confidence()) < 0.3


def test_an_only_window_is_compared_with_its_middle(voices, oracle):
    model = oracle(voices[:2], leak=0.0)
    _, windows = separate(model, voices[:2, : 8 * RATE].sum(axis=0))
    assert model.engine.windows == [(0, 8 * RATE), (2 * RATE, 6 * RATE)]
    assert min(windows.agreement.confidence()) > 0.99


class Lopsided:
    """A network whose errors do not turn with the sign of what it hears, and whose tracks swap when that is turned.

    What comes later than the voices did at first is heard as late.
    """

    def __init__(self, voices):
        self.voices, self.heard = voices, []
        self.error = 0.3 * np.random.default_rng(3).standard_normal(voices.shape)

    def __call__(self, mixture):
        later = mixture.shape[1] - self.voices.shape[1]
        turned = np.vdot(mixture[0, later:], self.voices.sum(axis=0)) < 0
        self.heard.append((bool(turned), later))
        voices = self.voices / self.voices.std()
        estimates = (self.error - voices)[::-1] if turned else self.error + voices
        return np.pad(estimates, ((0, 0), (later, 0)))[np.newaxis].astype(np.float32)


def test_hearing_twice_cancels_what_does_not_turn_with_the_sound(voices):
    sources = voices[:2, : 4 * RATE]
    network = Lopsided(sources)

    def error(*, twice):
        options = SeparationOptions(window_seconds=10.0, twice=twice)
        windows = WindowedSeparation(network, n_src=2, sample_rate=RATE, options=options, second_look=False)
        estimates = windows.push(sources.sum(axis=0), last=True)[0]
        return np.square(estimates - sources).sum() / np.square(sources).sum()

    assert error(twice=False) > 0.05
    assert error(twice=True) < 0.005
    assert network.heard == [(False, 0), (False, 0), (True, round(0.002 * RATE))]


def test_silence_costs_no_network(oracle):
    model = oracle(np.zeros((2, 30 * RATE), np.float32))
    estimates, _ = separate(model, np.zeros(30 * RATE, np.float32))
    assert model.engine.windows == []
    assert not estimates.any()


def test_a_network_that_answers_nan_is_an_error(oracle, voices):
    model = oracle(voices[:2])
    model.engine = lambda mixture: np.full((1, 2, mixture.shape[1]), np.nan, np.float32)
    with pytest.raises(CheckpointError, match="NaN"):
        separate(model, voices[0])


@pytest.mark.parametrize("cut", [0, 3 * RATE, 10 * RATE, 21 * RATE + 13])
def test_another_run_goes_on_from_a_state_as_if_nothing_had_been(voices, oracle, cut):
    model, mixture = oracle(voices[:2]), voices[:2].sum(axis=0)
    model.engine = lambda heard: np.stack([np.maximum(heard, 0), np.minimum(heard, 0)], axis=1)
    whole, untouched = separate(model, mixture)
    first = WindowedSeparation(model.run, n_src=2, sample_rate=RATE, options=TEN)
    pieces = first.push(mixture[:cut])
    state = {name: array.copy() for name, array in first.state().items()}
    first.push(mixture[cut:], last=True)  # what the first run does after its state was taken must not matter
    second = WindowedSeparation(model.run, n_src=2, sample_rate=RATE, options=TEN)
    second.restore(state)
    assert second.end == cut
    pieces += second.push(mixture[cut:], last=True)
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), whole)
    assert second.agreement.confidence() == untouched.agreement.confidence()
