import numpy as np
import pytest

from unmingle.evaluation.conversation import inner_products, score_conversation

RATE = 1000


@pytest.fixture
def talkers():
    """(2, 20 s): the second pauses for the last 8 seconds."""
    talkers = np.random.default_rng(0).standard_normal((2, 20 * RATE)).astype(np.float32)
    talkers[1, 12 * RATE :] = 0.0
    return talkers


def score(talkers, tracks, *, size=777):
    signals = np.concatenate([talkers.sum(axis=0, keepdims=True), talkers, tracks]).astype(np.float32)
    blocks = (signals[:, start : start + size] for start in range(0, signals.shape[1], size))
    return score_conversation(inner_products(blocks, sample_rate=RATE), n_talkers=len(talkers))


def test_everybody_on_one_track_is_right(talkers):
    found = score(talkers, 0.5 * talkers[::-1])
    assert found.tracks == [1, 0]
    assert (found.wrong_share, found.lost_share) == (0.0, 0.0)
    assert min(found.si_snr) > 60
    assert found.spoken.sum() == pytest.approx(32.0)


def test_a_swap_is_seen_where_it_is(talkers):
    tracks = talkers.copy()
    tracks[:, 8 * RATE : 11 * RATE] = tracks[::-1, 8 * RATE : 11 * RATE]
    found = score(talkers, tracks)
    assert found.tracks == [0, 1]
    assert found.wrong_share == pytest.approx(6 / 32)
    assert (found.wrong_share_alone, found.wrong_share_together) == (0.0, pytest.approx(6 / 24))
    assert list(np.flatnonzero(found.wrong)) == list(range(16, 22))


def test_leakage_is_not_a_swap_but_costs_quality(talkers):
    found = score(talkers, talkers + 0.3 * talkers[::-1])
    assert found.wrong_share == 0.0
    assert found.si_snr_improvement[0] == pytest.approx(-10 * np.log10(0.09), abs=0.3)


def test_a_talker_without_a_track_is_wrong_and_one_on_no_track_is_lost(talkers):
    third = np.random.default_rng(1).standard_normal((1, 20 * RATE))
    three = np.concatenate([talkers, third])
    found = score(three, np.stack([talkers[0] + third[0], talkers[1]]))
    assert found.wrong_share == pytest.approx(20 / 52)
    assert sum(np.isnan(found.si_snr)) == 1
    found = score(talkers, np.stack([talkers[0], 0.01 * talkers[1]]))
    assert found.lost_share == pytest.approx(12 / 32)


def test_the_si_snr_is_that_of_the_whole_recording(talkers):
    import torch

    from unmingle.metrics.si_sdr import si_sdr

    tracks = talkers + 0.1 + 0.2 * np.random.default_rng(2).standard_normal(talkers.shape)
    expected = si_sdr(estimate=torch.tensor(tracks), reference=torch.tensor(talkers).double(), zero_mean=True)
    assert score(talkers, tracks).si_snr == pytest.approx(expected.tolist(), abs=0.01)
