import numpy as np
import pytest

from unmingle.errors import OutputError
from unmingle.inference.store import TrackStore


@pytest.fixture(params=["memory", "file"])
def store(request, tmp_path):
    if request.param == "memory":
        yield TrackStore(2)
    else:
        with TrackStore.beside(tmp_path / ".kept", 2) as kept:
            yield kept
        assert not (tmp_path / ".kept").exists()


def test_what_was_appended_comes_back_exactly_in_any_pieces(store):
    tracks = np.random.default_rng(0).standard_normal((2, 1000)).astype(np.float32)
    for start, stop in [(0, 7), (7, 7), (7, 600), (600, 1000)]:
        store.append(tracks[:, start:stop])
        assert store.n_samples == stop
    np.testing.assert_array_equal(np.concatenate(list(store.pieces(33)), axis=1), tracks)
    np.testing.assert_array_equal(store.read(590, 610), tracks[:, 590:610])


def test_beyond_the_ends_there_is_silence(store):
    store.append(np.ones((2, 10), np.float32))
    np.testing.assert_array_equal(store.read(-2, 12)[0], [0, 0, *[1] * 10, 0, 0])
    np.testing.assert_array_equal(store.read(20, 23), np.zeros((2, 3)))


def test_a_folder_that_is_not_there_is_an_error_in_words(tmp_path):
    with pytest.raises(OutputError, match="missing"), TrackStore.beside(tmp_path / "missing" / ".kept", 2):
        pass
