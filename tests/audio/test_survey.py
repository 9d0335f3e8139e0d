import numpy as np
import pytest

from unmingle.audio.survey import plan_downmix, survey
from unmingle.errors import SignalError

RATE = 16_000


def noise(channels=1, seconds=1.0, level=0.1):
    return (level * np.random.default_rng(0).standard_normal((channels, round(seconds * RATE)))).astype(np.float32)


def look(samples, *, block=4096, **settings):
    blocks = [samples[:, start : start + block] for start in range(0, samples.shape[1], block)]
    return survey(blocks, sample_rate=RATE, channels=samples.shape[0], name="talk.wav", **settings)


def test_the_survey_does_not_depend_on_the_blocks():
    samples = noise(2)
    one, other = look(samples, block=10**6), look(samples, block=37)
    assert (one.n_samples, one.peak) == (other.n_samples, other.peak)
    np.testing.assert_allclose(one.covariance, other.covariance, rtol=1e-9)
    assert one.speech_power == pytest.approx(other.speech_power, rel=1e-6)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (noise(seconds=0.0), "no samples"),
        (noise(seconds=0.005), "lasts 5 ms"),
        (np.zeros((1, RATE), np.float32), "silent from beginning to end"),
        (np.full((1, RATE), 1e-6, np.float32), "silent from beginning to end"),
    ],
)
def test_what_nobody_can_separate_is_refused(samples, message):
    with pytest.raises(SignalError, match=rf"talk\.wav.*{message}"):
        look(samples)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_a_number_is_refused_with_its_place(value):
    samples = noise()
    samples[0, 8000] = value
    with pytest.raises(SignalError, match=r"first at 0\.500 s"):
        look(samples)


def test_one_channel_is_taken_as_it_is():
    samples = noise()
    downmix = plan_downmix(look(samples))
    assert (downmix.conversions, downmix.warnings) == ((), ())
    np.testing.assert_array_equal(downmix(samples), samples[0])


def test_two_channels_are_averaged():
    samples = noise(2)
    downmix = plan_downmix(look(samples))
    assert downmix.conversions == ("averaged 2 channels into one",)
    np.testing.assert_allclose(downmix(samples), samples.mean(axis=0), atol=1e-6)


def test_thirty_two_channels_are_averaged():
    samples = noise(32)
    downmix = plan_downmix(look(samples))
    assert downmix.warnings == ()
    np.testing.assert_allclose(downmix(samples), samples.mean(axis=0), atol=1e-6)


def test_channels_of_opposite_polarity_do_not_cancel_each_other():
    voice = noise()
    samples = np.concatenate([voice, -1.1 * voice])
    downmix = plan_downmix(look(samples))
    assert "polarity" in downmix.warnings[0]
    assert downmix.conversions == ("took channel 2 of 2, the loudest",)
    np.testing.assert_array_equal(downmix(samples), samples[1])


def test_a_dead_channel_does_not_halve_the_level():
    samples = np.concatenate([noise(), np.zeros((1, RATE), np.float32)])
    downmix = plan_downmix(look(samples))
    assert downmix.conversions == ("took channel 1 of 2, the only one with sound",)
    np.testing.assert_array_equal(downmix(samples), samples[0])


def test_an_offset_is_removed_and_told():
    samples = noise() + np.float32(0.2)
    downmix = plan_downmix(look(samples))
    assert "offset of +0.20" in downmix.conversions[0]
    assert abs(downmix(samples).mean()) < 1e-6
    assert downmix.speech_power < 0.02  # of the sound, not of the offset


def test_clipping_is_told():
    samples = np.clip(noise(level=0.8), -1.0, 1.0)
    sine = np.clip(1.5 * np.sin(2 * np.pi * 100 * np.arange(RATE) / RATE), -1, 1).astype(np.float32)[np.newaxis]
    assert any("clipped" in sentence for sentence in plan_downmix(look(sine)).warnings)
    assert look(sine).n_clipped == pytest.approx(200, abs=2)
    assert not any("clipped" in sentence for sentence in plan_downmix(look(noise(level=0.2))).warnings)
    assert look(samples).peak == 1.0


def test_channels_that_hold_nothing_but_an_offset_are_averaged():
    downmix = plan_downmix(look(np.full((2, RATE), 0.1, np.float32)))
    assert downmix.conversions == ("averaged 2 channels into one", "removed a constant offset of +0.100 of full scale")
    np.testing.assert_allclose(downmix(np.full((2, 5), 0.1, np.float32)), 0, atol=1e-7)
