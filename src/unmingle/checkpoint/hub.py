"""Weights from the hub, on request only: a repository holds one file, and its card is in that file's header."""

from __future__ import annotations

import errno
import logging
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from unmingle.checkpoint.card import read_card
from unmingle.errors import MissingFileError, OutputError, UnknownModelError, UnmingleError

HUB_FILE = "model.safetensors"
_OF_THE_DISK = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT}


def fetch(hub_id: str, *, cached_only: bool = False) -> Path:
    """The weights file of a hub repository `owner/name`, downloaded unless it is in the local cache already.

    Args:
        hub_id: the repository; it holds one `model.safetensors` that `save_checkpoint` wrote.
        cached_only: never touch the network. `HF_HUB_OFFLINE=1` has the same effect.

    Returns:
        The file in the local cache; its card has been read.

    Raises:
        UnknownModelError: no such repository, or it holds no `model.safetensors`.
        MissingFileError: not in the cache, and the network is off or does not answer.
        OutputError: the cache cannot be written.
        CheckpointError: the file is damaged or is not one of ours.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError, RepositoryNotFoundError

    try:
        with _without_retries_in_the_log():
            path = Path(hf_hub_download(hub_id, HUB_FILE, local_files_only=cached_only))
    except (HFValidationError, RepositoryNotFoundError) as error:
        raise UnknownModelError(f"no hub repository {hub_id!r} can be read; give it as owner/name ({error})") from error
    except (FileNotFoundError, OSError, EntryNotFoundError, HfHubHTTPError) as error:
        raise _not_fetched(hub_id, error, cached_only=cached_only) from error
    read_card(path)
    return path


def _not_fetched(hub_id: str, error: Exception, *, cached_only: bool) -> UnmingleError:
    from huggingface_hub import constants
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
        return UnknownModelError(f"the hub repository {hub_id!r} holds no {HUB_FILE}; unmingle reads only that file")
    fetching = f"with a network run: unmingle models pull {hub_id}"
    if cached_only:
        return MissingFileError(
            f"{hub_id!r} is neither a file here nor a hub repository that was fetched; check the path, or {fetching}"
        )
    if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
        return OutputError(f"{hub_id!r} cannot be kept in the local cache {constants.HF_HUB_CACHE}: {error.strerror}")
    reason = "the network is switched off (HF_HUB_OFFLINE)" if constants.HF_HUB_OFFLINE else "the hub did not answer"
    return MissingFileError(f"{hub_id!r} is not in the local cache and {reason}; {fetching}")


@contextmanager
def _without_retries_in_the_log() -> Generator[None]:
    """The hub library warns of every attempt; one message at the end says it all."""
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
