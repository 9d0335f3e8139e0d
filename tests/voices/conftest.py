"""People who take turns, as the looks at a recording would show them."""

from collections.abc import Callable

import numpy as np
import pytest

from unmingle.voices.looks import TICKS, Looks


def _make_looks(people: list[int], centres: np.ndarray, *, noise: float = 0.1, together: bool = False) -> Looks:
    """A look per entry: one person alone on the first track, or (-1) nobody."""
    rng = np.random.default_rng(0)
    mixture = np.zeros((len(people), 64), np.float32)
    for look, person in enumerate(people):
        if person >= 0:
            vector = centres[person] + noise * rng.standard_normal(64) / 8 * 2
            mixture[look] = vector / np.linalg.norm(vector)
    tracks = np.zeros((2, len(people), 64), np.float32)
    powers = np.tile([[1.0], [1.0 if together else 1e-3]], (1, len(people) * TICKS))
    return Looks(mixture, tracks, powers, np.repeat(np.array(people) >= 0, TICKS))


@pytest.fixture
def make_looks() -> Callable[..., Looks]:
    return _make_looks


@pytest.fixture
def centres() -> np.ndarray:
    """Two people who are alike (0.6), and one who is not."""
    centres = np.eye(3, 64)
    centres[1] = 0.6 * centres[0] + 0.8 * centres[1]
    return centres.astype(np.float32)
