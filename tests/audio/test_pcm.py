import io

import numpy as np
import pytest

from unmingle.audio.pcm import PcmReader, encode


class Dribble(io.BytesIO):
    """A pipe in which a few bytes arrive at a time."""

    def read1(self, size=-1):
        return super().read(min(size, 7) if size > 0 else 7)


def noise(channels, time):
    return np.random.default_rng(0).uniform(-1, 1, (channels, time)).astype(np.float32)


@pytest.mark.parametrize(("coding", "error"), [("f32le", 0.0), ("s16le", 0.6 / 32768)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", [io.BytesIO, Dribble])
def test_samples_go_through_a_pipe_unchanged_however_the_bytes_arrive(coding, error, channels, kind):
    samples = noise(channels, 101)
    blocks = list(PcmReader(kind(encode(samples, coding)), coding, channels=channels).blocks(16))
    assert all(block.shape[0] == channels and 0 < block.shape[1] <= 16 for block in blocks)
    np.testing.assert_allclose(np.concatenate(blocks, axis=1), samples, rtol=0, atol=error)


def test_the_codings_are_the_ones_that_everybody_means():
    assert encode(np.array([[0.5, -1.0], [0.0, 1.0]], np.float32), "s16le") == bytes.fromhex("0040 0000 0080 ff7f")
    assert encode(np.array([[0.5]], np.float32), "f32le") == bytes.fromhex("0000003f")


def test_what_is_beyond_full_scale_stops_there_in_integers():
    assert encode(np.array([[2.0, -2.0]], np.float32), "s16le") == bytes.fromhex("ff7f 0080")


def test_a_sample_cut_in_two_at_the_end_is_counted_and_left():
    reader = PcmReader(Dribble(b"\0" * 21), "s16le", channels=2)
    assert sum(block.shape[1] for block in reader.blocks(100)) == 5
    assert reader.left_over == 1


def test_an_empty_pipe_has_no_blocks():
    assert list(PcmReader(io.BytesIO(), "f32le").blocks(4)) == []
