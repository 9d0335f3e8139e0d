"""Files whose own header is wrong about their length.

Some are shorter than it says: interrupted downloads and copies, which the decoders play up to where they break off and
say nothing. Others are longer: joined files, MP3 files that say nothing, recorders that crashed; libsndfile stops where
it believes that they end.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from unmingle.errors import AudioReadError

_OPEN_ENDED = 0x7FFFFF00  # sizes from here on, and 0, are written by programs that could not know the length
_TOLERANCE = 0.99
_WAV_COUNTS_TO = 1 << 32  # bytes; writers that go beyond put down what is left of the division by this
_OGG_PAGE, _LONGEST_OGG_PAGE = b"OggS", 65_307
_OGG_SERIAL = slice(14, 18)  # in a page: which stream it belongs to
_LONGEST_MP3_TAG = 4_096  # bytes after the sound: names of artist and title


def check_complete(path: Path) -> None:
    """Refuse a WAV, MP3 or MP4 file that is shorter than it says itself; other formats are checked while they are read.

    Raises:
        AudioReadError: the file is cut short, or cannot be opened.
    """
    try:
        with path.open("rb") as file:
            start = file.read(1 << 16)
            present = path.stat().st_size
            declared = _wav_size(start) or _mp3_size(file) or _mp4_size(file, present)
    except OSError as error:
        raise AudioReadError(f"{path} cannot be read: {error.strerror}; check its permissions") from error
    if declared is not None and present < declared * _TOLERANCE:
        raise AudioReadError(
            f"{path} is cut short: it has {present} of the {declared} bytes that its header promises; get a whole copy"
        )


def outgrew_header(path: Path) -> bool:
    """Whether this is a WAV file that goes on where its header says it ends: beyond 4 GB, or never finished."""
    with path.open("rb") as file:
        data = _wav_data(file.read(1 << 16))
        if data is None or data[1] >= _OPEN_ENDED:
            return False
        present = file.seek(0, 2)
        return present - sum(data) >= _TOLERANCE * _WAV_COUNTS_TO if data[1] else _unfinished(file, data[0], present)


def hides_length(path: Path, *, mp3: bool) -> bool:
    """Whether the first header cannot tell where an Ogg or MP3 file ends: several were joined to one, or it is an MP3
    file that says nothing, whose length libsndfile guesses from the first frames.
    """
    with path.open("rb") as file:
        if mp3:
            declared = _mp3_size(file)
            return declared is None or path.stat().st_size - declared > _LONGEST_MP3_TAG
        first = file.read(_OGG_SERIAL.stop)
    last = _last_ogg_page(path)[_OGG_SERIAL]
    return first[:4] == _OGG_PAGE and len(last) == 4 and last != first[_OGG_SERIAL]


def doubts(path: Path, *, outgrown: bool) -> list[str]:
    """What speaks against a file's being whole although it can be read, one sentence each; `outgrew_header` is known.

    An Ogg file (ogg, opus) does not know its length, but its last page is marked as the last.
    """
    if outgrown:
        return ["the file is longer than its header says; it was read to its end"]
    with path.open("rb") as file:
        if file.read(4) != _OGG_PAGE:
            return []
    page = _last_ogg_page(path)
    if len(page) > 5 and page[5] & 4:
        return []
    return ["the file has no mark of its end; it may have been cut short"]


def _last_ogg_page(path: Path) -> bytes:
    """From the beginning of the last page on; empty if there is none."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _LONGEST_OGG_PAGE))
        end = file.read()
    page = end.rfind(_OGG_PAGE)
    return end[page:] if page >= 0 else b""


def _wav_size(start: bytes) -> int | None:
    """Bytes up to the end of the `data` chunk, when this is a RIFF WAVE file that says so."""
    data = _wav_data(start)
    if data is None or data[1] == 0 or data[1] >= _OPEN_ENDED:
        return None
    return sum(data)


def _wav_data(start: bytes) -> tuple[int, int] | None:
    """Where the samples of a RIFF WAVE file begin, and how many bytes of them it says there are."""
    if start[:4] != b"RIFF" or start[8:12] != b"WAVE":
        return None
    position = 12
    while position + 8 <= len(start):
        kind, size = start[position : position + 4], int.from_bytes(start[position + 4 : position + 8], "little")
        if kind == b"data":
            return position + 8, size
        position += 8 + size + size % 2
    return None


def _unfinished(file: BinaryIO, position: int, present: int) -> bool:
    """Whether something follows the empty `data` chunk of a WAV file, which ends at `position`, and is no chunk."""
    while position + 8 <= present:
        file.seek(position)
        kind, size = struct.unpack("<4sI", file.read(8))
        if not (kind.isascii() and kind.decode().isprintable()):
            break
        position += 8 + size + size % 2
    return position < present


def _mp3_size(file: BinaryIO) -> int | None:
    """Bytes of the stream, when this is an MP3 file whose first frame is an information (Xing, Info) frame."""
    file.seek(0)
    offset, tags = 0, file.read(10)
    if tags[:3] == b"ID3" and len(tags) == 10:
        high, *rest = tags[6:10]
        offset = 10 + ((high << 21) | (rest[0] << 14) | (rest[1] << 7) | rest[2])
    file.seek(offset)
    frame = file.read(200)
    if len(frame) < 4 or frame[0] != 0xFF or frame[1] & 0xE0 != 0xE0:
        return None
    tag = max(frame.find(b"Xing"), frame.find(b"Info"))
    if tag < 0 or len(frame) < tag + 16:
        return None
    flags, _, second = struct.unpack(">III", frame[tag + 4 : tag + 16])
    if flags & 3 != 3:  # bit 0: number of frames, bit 1: number of bytes; both, in this order
        return None
    return offset + second


def _mp4_size(file: BinaryIO, present: int) -> int | None:
    """Bytes up to the end of the last box, when this is an MP4 or QuickTime file; boxes follow each other."""
    position, kind = 0, b""
    while position + 8 <= present:
        file.seek(position)
        size, kind = struct.unpack(">I4s", file.read(8))
        if position == 0 and kind != b"ftyp":
            return None
        if size == 1:  # the size is too long for its field, and follows
            size = int.from_bytes(file.read(8), "big")
        if size < 8:  # 0: up to the end of the file, wherever that is
            return None
        position += size
    return position
