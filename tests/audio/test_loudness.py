import numpy as np
import pytest

from unmingle.audio.loudness import LoudnessMeter

RATE = 48_000


def measure(samples, rate=RATE, *, cuts=()):
    meter = LoudnessMeter(len(samples), rate)
    for piece in np.split(samples, cuts, axis=1):
        meter.push(piece.astype(np.float32))
    return meter


def sine(hertz, seconds, *, rate=RATE, level_db=0.0):
    return 10 ** (level_db / 20) * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)[np.newaxis]


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 48_000])
def test_the_reference_tone_has_the_loudness_of_the_standard(rate):
    assert measure(sine(997, 3, rate=rate), rate).loudness()[0] == pytest.approx(-3.01, abs=0.05)


def test_the_treble_is_louder_and_the_bass_fainter():
    loud = [measure(sine(hertz, 2)).loudness()[0] for hertz in (20, 997, 10_000)]
    assert loud[1] - loud[0] > 10
    assert loud[2] - loud[1] == pytest.approx(3.3, abs=0.2)  # from 0.7 dB at the reference tone to the shelf's 4


def test_it_agrees_with_a_meter_of_others():
    pyloudnorm = pytest.importorskip("pyloudnorm")
    rng = np.random.default_rng(0)
    talk = rng.standard_normal((2, 5 * RATE)) * np.repeat(rng.choice([0.0, 0.01, 0.2], 50), RATE // 10)
    meter = pyloudnorm.Meter(RATE, filter_class="DeMan")
    expected = [meter.integrated_loudness(channel) for channel in talk]
    assert measure(talk).loudness() == pytest.approx(expected, abs=0.05)


def test_pauses_do_not_count():
    talk = np.concatenate([sine(997, 2, level_db=-20), np.zeros((1, 8 * RATE))], axis=1)
    assert measure(talk).loudness()[0] == pytest.approx(-23.01, abs=0.5)


def test_the_blocks_it_comes_in_do_not_matter():
    talk = np.random.default_rng(0).standard_normal((1, 2 * RATE)) * 0.1
    whole, pieces = measure(talk), measure(talk, cuts=(10, 4000, 4001, 60_000))
    assert pieces.loudness() == pytest.approx(whole.loudness(), abs=1e-6)
    assert pieces.true_peaks == pytest.approx(whole.true_peaks, rel=1e-3)


def test_a_clip_shorter_than_a_block_is_measured_and_silence_is_not():
    assert measure(sine(997, 0.2)).loudness()[0] == pytest.approx(-3.01, abs=0.3)
    assert measure(np.zeros((2, RATE))).loudness() == [None, None]


def test_a_peak_between_two_samples_is_found():
    between = np.sin(np.pi / 4 + np.pi / 2 * np.arange(RATE))[np.newaxis]  # every sample is 3 dB below the peak
    assert np.abs(between).max() < 0.71
    assert measure(between).true_peaks[0] == pytest.approx(1.0, abs=0.05)
