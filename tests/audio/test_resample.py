import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unmingle.audio.resample import StreamResampler, check_sample_rate, resample
from unmingle.errors import SampleRateError


@given(
    cuts=st.lists(st.integers(0, 22_050), max_size=12),
    rates=st.sampled_from([(22_050, 16_000), (8000, 44_100), (16_000, 16_000)]),
)
@settings(max_examples=25, deadline=None)
def test_blocks_give_the_same_samples_as_the_whole(cuts, rates):
    samples = np.random.default_rng(0).standard_normal((2, 22_050)).astype(np.float32)
    stream = StreamResampler(*rates, 2)
    edges = [0, *sorted(cuts), samples.shape[1]]
    pieces = [stream.push(samples[:, a:b]) for a, b in itertools.pairwise(edges)]
    pieces.append(stream.push(samples[:, :0], last=True))
    np.testing.assert_array_equal(
        np.concatenate(pieces, axis=1), resample(samples, from_rate=rates[0], to_rate=rates[1])
    )


def test_there_and_back_keeps_time_and_level():
    time = np.arange(44_100 * 3) / 44_100
    tone = np.sin(2 * np.pi * 300 * time).astype(np.float32)[np.newaxis]
    there = resample(tone, from_rate=44_100, to_rate=16_000)
    back = resample(there, from_rate=16_000, to_rate=44_100)
    assert there.shape == (1, 48_000)
    assert back.shape == tone.shape
    np.testing.assert_allclose(back[:, 1000:-1000], tone[:, 1000:-1000], atol=1e-4)


@pytest.mark.parametrize("rate", [0, 1, 3999, 384_001, 1_000_000])
def test_absurd_rates_are_refused_with_the_number(rate):
    with pytest.raises(SampleRateError, match=str(rate)):
        check_sample_rate(rate)


@pytest.mark.parametrize("rate", [4000, 8000, 44_100, 384_000])
def test_rates_that_recordings_have_are_taken(rate):
    check_sample_rate(rate)
