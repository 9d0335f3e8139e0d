import numpy as np
import pytest

from unmingle.inference.tracks import Agreement, TrackMatcher, fit_levels, overlap_likeness
from unmingle.inference.voices import VoiceProfiles

RATE = 8000


@pytest.mark.parametrize("gains", [(1.0, 1.0), (37.0, 37.0), (1e-4, 1e-4), (2.0, 0.8), (-1.0, 1.0), (-5.0, -5.0)])
def test_levels_are_those_in_the_mixture_whatever_the_network_thinks(voices, gains):
    sources = voices[:2, : 8 * RATE]
    fitted = fit_levels(sources * np.array(gains, np.float32)[:, np.newaxis], sources.sum(axis=0))
    error = np.square(fitted - sources).sum(axis=1) / np.square(sources).sum(axis=1)
    assert error.max() < 0.03


def test_a_faint_copy_of_the_only_voice_is_not_blown_up(voices):
    voice = voices[0, : 8 * RATE]
    fitted = fit_levels(np.stack([voice, 0.01 * voice]), voice)
    assert np.square(fitted[1]).sum() < 1e-3 * np.square(fitted[0]).sum()
    np.testing.assert_allclose(fitted.sum(axis=0), voice, atol=0.02)


def test_estimates_of_nothing_stay_nothing(voices):
    fitted = fit_levels(np.zeros((2, 1000), np.float32), voices[0, :1000])
    assert np.isfinite(fitted).all()
    assert not fitted.any()


def test_the_overlap_decides_when_one_speaker_talks(voices):
    before = np.stack([voices[0, :RATE], np.zeros(RATE, np.float32)])
    swapped = np.stack([voices[1], voices[0]])
    swapped[0, :RATE] = 0.0
    assert TrackMatcher(2, RATE).match(before, swapped) == [1, 0]
    assert TrackMatcher(2, RATE).match(before, swapped[::-1]) == [0, 1]


def test_a_pause_is_no_evidence(voices):
    noise = (1e-4 * np.random.default_rng(0).standard_normal((2, 2 * RATE))).astype(np.float32)
    estimates = voices[:2, : 10 * RATE].copy()
    estimates[:, : 2 * RATE] = noise
    assert np.abs(overlap_likeness(noise, estimates)).max() < 0.01


def test_after_a_pause_the_voices_decide(voices):
    matcher = TrackMatcher(2, RATE)
    matcher.learn(voices[:2, : 10 * RATE] * np.repeat([[1, 0], [0, 1]], 5 * RATE, axis=1).astype(np.float32))
    pause = np.zeros((2, 2 * RATE), np.float32)
    later = voices[:2, 20 * RATE : 30 * RATE].copy()
    later[0, 2 * RATE : 5 * RATE] = later[1, 5 * RATE : 8 * RATE] = later[:, : 2 * RATE] = 0.0
    assert matcher.match(pause, later) == [0, 1]
    assert matcher.match(pause, later[::-1]) == [1, 0]


def test_a_stranger_gets_the_track_that_has_no_voice_yet(voices):
    matcher = TrackMatcher(2, RATE)
    nobody = np.zeros(8 * RATE, np.float32)
    matcher.learn(np.stack([voices[0, : 8 * RATE], nobody]))
    pause = np.zeros((2, 2 * RATE), np.float32)
    known = np.stack([nobody, voices[0, 20 * RATE : 28 * RATE]])
    stranger = np.stack([voices[1, 20 * RATE : 28 * RATE], nobody])
    assert matcher.match(pause, known) == [1, 0]
    assert matcher.match(pause, stranger) == [1, 0]


def test_profiles_that_know_nothing_say_nothing(voices):
    assert not VoiceProfiles(2, RATE).likeness(voices[:2]).any()


def test_agreement_is_one_for_equal_looks_and_zero_for_unrelated_ones(voices):
    agreement = Agreement(2)
    assert agreement.confidence() == [None, None]
    agreement.add(voices[:2, :RATE], np.stack([voices[0, :RATE], -voices[1, :RATE]]))
    assert agreement.confidence() == [pytest.approx(1.0), 0.0]
