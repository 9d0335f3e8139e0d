"""The files of one recording's tracks: all of them, or what was there before."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from unmingle.audio.formats import Subtype, TrackFormat
from unmingle.audio.framing import Samples
from unmingle.audio.renaming import Draft, rename_together
from unmingle.audio.temporary import sweep
from unmingle.audio.writing import AudioWriter, check_target
from unmingle.errors import OutputError


def track_paths(out_dir: Path, stem: str, names: Sequence[str], format: TrackFormat) -> list[Path]:  # noqa: A002
    """Where the tracks of a recording go."""
    return [out_dir / f"{stem}_{name}.{format}" for name in names]


def check_targets(paths: Sequence[Path], *, overwrite: bool) -> None:
    """Refuse before the work what would be refused after it.

    Raises:
        OutputExistsError, OutputError: a track cannot have its name.
    """
    for path in paths:
        if path.parent.is_dir():
            check_target(path, overwrite=overwrite)


@contextmanager
def folder(path: Path) -> Generator[None]:
    """Make a folder and its parents; when the body fails, remove those that were made.

    Raises:
        OutputError: it cannot be made.
    """
    made = [parent for parent in (path, *path.parents) if not parent.exists()]
    try:
        try:
            path.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise OutputError(f"{path} is a file, not a folder; choose another one for the tracks") from error
        except OSError as error:
            raise OutputError(f"the folder {path} cannot be made ({error.strerror}); choose another one") from error
        yield
    except BaseException:
        for parent in made:
            with suppress(OSError):
                parent.rmdir()
        raise


class TrackFiles:
    """Writes one file per track; all get their names together in `commit`, or none does."""

    def __init__(self, writers: Sequence[AudioWriter]) -> None:
        """Take open writers; see `open`."""
        self._writers = writers

    @classmethod
    @contextmanager
    def open(
        cls,
        paths: Sequence[Path],
        sample_rate: int,
        *,
        subtype: Subtype,
        format: TrackFormat = "wav",  # noqa: A002
        overwrite: bool = False,
        frames: int | None = None,
        rescaled: bool = False,
    ) -> Generator[TrackFiles]:
        """Open all files; whatever happens, no temporary file outlives the `with`, nor do those of killed processes."""
        for parent in {path.parent for path in paths}:
            sweep(parent)
        with ExitStack() as stack:
            writers: list[AudioWriter] = []
            for path in paths:
                writer = AudioWriter(
                    path,
                    sample_rate,
                    subtype=subtype,
                    format=format,
                    overwrite=overwrite,
                    frames=frames,
                    rescaled=rescaled,
                )
                stack.callback(writer.discard)
                writers.append(writer)
            yield cls(writers)

    def write(self, tracks: Samples) -> None:
        """Append (n_tracks, time) samples."""
        for writer, track in zip(self._writers, tracks, strict=True):
            writer.write(track[None])

    def close(self, gains: Sequence[float]) -> list[str]:
        """Scale the tracks, which need only their names then; say what had to be done so that nothing clips."""
        for writer, gain in zip(self._writers, gains, strict=True):
            writer.close(gain=gain)
        return [sentence for writer in self._writers if (sentence := _about(writer)) is not None]

    @property
    def attenuations_db(self) -> list[float]:
        """How much `close` had to turn every track down, because FLAC ends at full scale."""
        return [writer.attenuation_db for writer in self._writers]

    @property
    def drafts(self) -> list[Draft]:
        """The files as they are, and what they shall be called."""
        return [(writer.draft, writer.path) for writer in self._writers]

    def commit(self) -> None:
        """Give all files their names, or none: those that had the names before are back then.

        Raises:
            OutputError: a file cannot get its name.
        """
        rename_together(self.drafts)


def _about(writer: AudioWriter) -> str | None:
    if writer.attenuation_db > 0:
        return f"{writer.path.name} would exceed full scale and was turned down by {writer.attenuation_db:.1f} dB"
    if writer.loudest > 1.0:
        return f"{writer.path.name} exceeds full scale and was written in 32-bit float, which does not clip"
    return None
