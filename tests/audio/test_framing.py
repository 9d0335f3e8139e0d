import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmingle.audio.framing import Framer, SampleQueue, cross_fade, fit_length, runs_of_true


def test_fitting_a_length_cuts_or_pads_the_end():
    samples = np.ones((2, 5), np.float32)
    assert fit_length(samples, 3).shape == (2, 3)
    np.testing.assert_array_equal(fit_length(samples, 7), [[1, 1, 1, 1, 1, 0, 0]] * 2)


def test_a_cross_fade_leaves_what_is_common_unchanged():
    samples = np.random.default_rng(0).standard_normal((2, 100)).astype(np.float32)
    np.testing.assert_array_equal(cross_fade(samples, samples), samples)


def test_a_cross_fade_goes_from_the_one_to_the_other():
    faded = cross_fade(np.zeros(1000, np.float32), np.ones(1000, np.float32))
    assert (np.diff(faded) >= 0).all()
    assert faded[0] < 1e-3
    assert faded[-1] > 1 - 1e-3


@given(cuts=st.lists(st.integers(0, 103), max_size=8))
def test_frames_do_not_depend_on_the_blocks(cuts):
    samples = np.arange(103, dtype=np.float32)[np.newaxis]
    framer = Framer(1, 10)
    edges = [0, *sorted(cuts), 103]
    frames = [framer.push(samples[:, a:b]) for a, b in itertools.pairwise(edges)]
    frames.append(framer.push(samples[:, :0], last=True))
    joined = np.concatenate(frames, axis=1)
    assert joined.shape == (1, 11, 10)
    np.testing.assert_array_equal(joined.reshape(1, -1), fit_length(samples, 110))


def test_a_queue_gives_back_what_was_put_in_any_sizes():
    queue = SampleQueue()
    queue.put(np.arange(5, dtype=np.float32))
    queue.put(np.arange(5, 9, dtype=np.float32))
    taken = [queue.take(3), queue.take(0), queue.take(4), queue.take(100), queue.take(1)]
    assert [len(block) for block in taken] == [3, 0, 4, 2, 0]
    np.testing.assert_array_equal(np.concatenate(taken), np.arange(9))


@pytest.mark.parametrize(("flags", "runs"), [("", []), ("000", []), ("111", [(0, 3)]), ("0110010", [(1, 3), (5, 6)])])
def test_runs_of_true_are_found_from_edge_to_edge(flags, runs):
    assert runs_of_true(np.array([flag == "1" for flag in flags], np.bool_)) == runs
