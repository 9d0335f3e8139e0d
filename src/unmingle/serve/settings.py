"""What a server allows, and to whom."""

from __future__ import annotations

import ipaddress
import math
import os
import re
import secrets
from dataclasses import dataclass, field

from unmingle.errors import ConfigError

_TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,200}")
_POSITIVE = (
    "max_upload_bytes",
    "max_sound_seconds",
    "n_separations",
    "keep_seconds",
    "max_kept",
    "max_streams",
    "n_stream_threads",
    "hops",
    "queue_seconds",
    "idle_seconds",
    "upload_seconds",
)


STREAMS_PER_CORE = 2
"""What a core of an ordinary machine carries of the live preset, two hops at a time (docs/decisions/0011)."""


def n_cores() -> int:
    """Processor cores of this machine."""
    return os.cpu_count() or 1


def new_token() -> str:
    """A token that nobody guesses: 32 characters that go into any header."""
    return secrets.token_urlsafe(24)


@dataclass(frozen=True)
class ServeSettings:
    """Where a server listens, who may use it, and how much of it.

    Attributes:
        host: address to listen at.
        port: 0 takes a free one.
        token: what clients have to show; None lets everybody in, which only a loopback address may.
        max_upload_bytes: of one request's body.
        max_sound_seconds: of one recording.
        n_separations: recordings that are separated at the same time.
        max_waiting: recordings that may wait for their turn beyond those.
        keep_seconds: how long tracks can be fetched.
        max_kept: results that lie on the disk at the same time.
        max_streams: live streams at the same time, those that have not said hello included.
        n_stream_threads: threads that compute for all streams together.
        hops: hops of the network that a stream takes at a time.
        queue_seconds: sound of one stream that may wait to be separated.
        idle_seconds: how long a client may say nothing, or read nothing.
        upload_seconds: how long one upload may last.
        grace_seconds: how long what was accepted may go on once the server is told to end.

    Raises:
        ConfigError: a number out of range, a token that is too short or does not go into a header, or none where one
            is needed.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    max_upload_bytes: int = 500_000_000
    max_sound_seconds: float = 2 * 3600.0
    n_separations: int = 1
    max_waiting: int = 4
    keep_seconds: float = 600.0
    max_kept: int = 16
    max_streams: int = field(default_factory=lambda: STREAMS_PER_CORE * n_cores())
    n_stream_threads: int = field(default_factory=n_cores)
    hops: int = 2
    queue_seconds: float = 0.5
    idle_seconds: float = 60.0
    upload_seconds: float = 1800.0
    grace_seconds: float = 30.0

    def __post_init__(self) -> None:
        """Refuse what cannot work before anything is loaded."""
        for name in _POSITIVE:
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} is {getattr(self, name)}; wanted a number above 0")
        for name in ("max_waiting", "grace_seconds"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; wanted 0 or more")
        if not 0 <= self.port <= 65_535:
            raise ConfigError(f"port is {self.port}; wanted 0 (any free one) to 65535")
        self._check_token()

    def _check_token(self) -> None:
        if self.token is None and not self.loopback:
            raise ConfigError(
                f"{self.host} can be reached from other machines, and no token is set; give one with --token or "
                "UNMINGLE_TOKEN, let one be made with --token new, or listen at 127.0.0.1"
            )
        if self.token is not None and not _TOKEN.fullmatch(self.token):
            raise ConfigError(
                f"the token has {len(self.token)} characters; wanted 16 to 200 of letters, digits, '.', '_', '~' and "
                "'-', so that it is hard to guess and goes into every header; --token new makes one"
            )

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether a host name or address always means this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
