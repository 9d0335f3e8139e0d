"""How torch networks are run here: without gradients, and short of memory in words."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

_CPU_WORDS = "can't allocate memory"  # the CPU's allocator has no error of its own


@contextmanager
def running() -> Generator[None]:
    """Run a network in the body.

    Raises:
        MemoryError: it needs more memory than there is, on whatever device.
    """
    import torch

    try:
        with torch.inference_mode():
            yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and _CPU_WORDS not in str(error):
            raise
        raise MemoryError(
            "the network needs more memory than there is; close other programs, or take a smaller model"
        ) from error
