"""Pictures that say which they are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest


@pytest.fixture(scope="session")
def numbered() -> Callable[..., np.ndarray]:
    """Frames whose gray level is their number: (n, 32, 48, 3). `number_of` reads it back."""

    def make(n: int) -> np.ndarray:
        return np.broadcast_to((20 + 5 * np.arange(n, dtype=np.uint8))[:, None, None, None], (n, 32, 48, 3)).copy()

    return make


@pytest.fixture(scope="session")
def number_of() -> Callable[[np.ndarray], int]:
    return lambda picture: round((float(picture.mean()) - 20) / 5)
