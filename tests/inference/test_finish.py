from itertools import pairwise

import numpy as np
import pytest

from unmingle.inference.finish import Finisher

RATE = 8000


def finish(tracks, mixture, *, cuts=(), **settings):
    finisher = Finisher(len(tracks), RATE, **{"speech_power": 0.05**2, **settings})
    edges = [0, *cuts, tracks.shape[1]]
    pieces = [finisher.push(tracks[:, a:b], mixture[a:b], last=b == tracks.shape[1]) for a, b in pairwise(edges)]
    return np.concatenate(pieces, axis=1)[:, : tracks.shape[1]], finisher


def test_tracks_sum_to_the_recording_at_every_sample(voices):
    noise = (0.01 * np.random.default_rng(0).standard_normal(voices.shape[1])).astype(np.float32)
    mixture = voices[:2].sum(axis=0) + noise
    finished, _ = finish(voices[:2] * 0.8, mixture)
    np.testing.assert_allclose(finished.sum(axis=0), mixture, atol=1e-6)


def test_what_is_left_over_goes_to_the_voice_that_is_heard(voices):
    tracks = voices[:2, : 4 * RATE].copy()
    tracks[0, : 2 * RATE] = tracks[1, 2 * RATE :] = 0.0
    finished, _ = finish(0.7 * tracks, tracks.sum(axis=0))
    away = np.abs(np.arange(4 * RATE) - 2 * RATE) > RATE // 50
    np.testing.assert_allclose(finished[:, away], tracks[:, away], atol=1e-5)


def test_the_residual_can_be_kept_apart(voices):
    noise = (0.01 * np.random.default_rng(0).standard_normal(voices.shape[1])).astype(np.float32)
    finished, _ = finish(voices[:2], voices[:2].sum(axis=0) + noise, keep_residual=True)
    np.testing.assert_array_equal(finished[:2], voices[:2])
    np.testing.assert_allclose(finished[2], noise, atol=1e-6)


def test_what_a_gate_takes_away_goes_into_the_residual(voices):
    tracks, mixture = voices[:2, : 10 * RATE].copy(), voices[:, : 10 * RATE].sum(axis=0)
    tracks[1, 4 * RATE : 7 * RATE] *= 0.01
    finished, _ = finish(tracks, mixture, keep_residual=True, gate=True)
    assert not finished[1, round(4.5 * RATE) : round(6.5 * RATE)].any()
    np.testing.assert_allclose(finished.sum(axis=0), mixture, atol=1e-6)


def test_a_gate_makes_no_clicks():
    hum = np.sin(2 * np.pi * 100 * np.arange(4 * RATE) / RATE).astype(np.float32)
    tracks = 0.05 * np.stack([hum, hum])
    tracks[1, RATE : 3 * RATE] *= 10 ** (-32 / 20)  # too faint for a voice, loud enough for a click
    finished, _ = finish(tracks, tracks.sum(axis=0), keep_residual=True, gate=True)
    edge = finished[1, RATE : 2 * RATE] * np.hanning(RATE)
    spectrum = np.abs(np.fft.rfft(edge))
    assert edge.any()
    assert spectrum[400:].max() < 1e-4 * spectrum.max()


@pytest.mark.parametrize("loud", [0, 1])
def test_the_treble_above_the_network_goes_to_the_voice_that_hisses(loud):
    rng, rate = np.random.default_rng(0), 16_000
    noise = rng.standard_normal((2, 2 * rate))
    spectra, frequency = np.fft.rfft(noise), np.fft.rfftfreq(2 * rate, 1 / rate)
    hiss = np.fft.irfft(spectra[0] * (frequency > 2500))
    hum = np.fft.irfft(spectra[1] * (frequency < 900))
    sources = np.stack([hiss, 3 * hum] if loud == 0 else [3 * hum, hiss]) * 0.02
    spectra = np.fft.rfft(sources)
    tracks = np.fft.irfft(spectra * (frequency < 3700)).astype(np.float32)
    finisher = Finisher(2, rate, speech_power=0.02**2, heard_hz=4000.0)
    finished = finisher.push(tracks, sources.sum(axis=0).astype(np.float32), last=True)
    np.testing.assert_allclose(finished.sum(axis=0), sources.sum(axis=0), atol=1e-6)
    error = finished - sources
    assert np.square(error).sum() < 0.01 * np.square(sources).sum()


def test_loudness_is_measured_where_it_is_asked_for(voices):
    _, silent = finish(voices[:2], voices[:2].sum(axis=0))
    _, asked = finish(voices[:2], voices[:2].sum(axis=0), loudness=True)
    assert silent.loudness() == []
    assert [-40 < lufs < -15 and peak > 0.05 for lufs, peak in asked.loudness()] == [True, True]


@pytest.mark.parametrize("settings", [{}, {"gate": True}, {"keep_residual": True, "gate": True}, {"heard_hz": 2000.0}])
def test_the_pieces_it_comes_in_do_not_matter(voices, settings):
    tracks, mixture = voices[:2, : 5 * RATE], voices[:, : 5 * RATE].sum(axis=0)
    whole, one = finish(tracks, mixture, **settings)
    pieces, other = finish(tracks, mixture, cuts=(1, 80, 81, 5000, 5000, 30_000), **settings)
    np.testing.assert_allclose(pieces, whole, atol=1e-7)
    assert one.active_seconds() == other.active_seconds()
    assert one.levels_dbfs() == pytest.approx(other.levels_dbfs())


def test_levels_and_activity_are_measured(voices):
    tracks = voices[:2, : 10 * RATE].copy()
    tracks[1, 4 * RATE :] = 0.0
    _, finisher = finish(tracks, tracks.sum(axis=0))
    expected = 10 * np.log10(np.mean(np.square(tracks), axis=1))
    assert finisher.levels_dbfs() == pytest.approx(list(expected), abs=0.01)
    assert finisher.active_seconds() == pytest.approx([10.0, 4.0], abs=0.6)
    assert 10 * np.log10(finisher.active_powers()[1]) == pytest.approx(expected[1] + 4, abs=0.7)


def test_a_leak_is_not_a_voice(voices):
    leak = np.stack([voices[0], 0.1 * voices[0]])
    _, finisher = finish(leak, leak.sum(axis=0))
    assert finisher.active_seconds()[0] > 25
    assert finisher.active_seconds()[1] == 0.0


def test_the_gate_silences_pauses_and_leaves_speech_alone(voices):
    tracks = voices[:2, : 10 * RATE].copy()
    tracks[1, 4 * RATE : 7 * RATE] *= 0.01
    finished, _ = finish(tracks, tracks.sum(axis=0), gate=True)
    assert not finished[1, round(4.3 * RATE) : round(6.7 * RATE)].any()
    np.testing.assert_allclose(finished[1, RATE : 3 * RATE], tracks[1, RATE : 3 * RATE], atol=1e-6)
    np.testing.assert_allclose(finished[1, 7 * RATE : 7 * RATE + 400], tracks[1, 7 * RATE : 7 * RATE + 400], atol=1e-6)
    assert np.abs(np.diff(finished[1])).max() < 1.05 * np.abs(np.diff(tracks[1])).max()  # no clicks
