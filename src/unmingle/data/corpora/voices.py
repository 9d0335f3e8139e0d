"""Corpora of single voices: any tree `speaker/*.wav`, and LibriSpeech."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from unmingle.audio.io import count_seconds
from unmingle.data.speech import import_lhotse, list_speech
from unmingle.data.voices import write_voices
from unmingle.errors import ManifestError, MissingFileError


def prepare_folder(root: Path, out_dir: Path, mixture: str | None, overwrite: bool) -> dict[Path, int]:  # noqa: ARG001
    """A speech manifest of a tree in which the first folder names the speaker."""
    files = list_speech(root)
    rows = [{"path": file.path, "speaker": file.speaker, "seconds": _seconds(file.path)} for file in files]
    return _write(out_dir / "speech.jsonl", rows, overwrite)


def prepare_librispeech(
    root: Path,
    out_dir: Path,
    mixture: str | None,  # noqa: ARG001
    overwrite: bool,
) -> dict[Path, int]:
    """One speech manifest per part of LibriSpeech that is there, with text and the speakers' genders."""
    if not root.is_dir():
        raise MissingFileError(f"there is no folder {root}")
    import_lhotse()
    from lhotse.recipes.librispeech import LIBRISPEECH, MINI_LIBRISPEECH
    from lhotse.recipes.librispeech import prepare_librispeech as lhotse_librispeech

    corpus = root / "LibriSpeech" if (root / "LibriSpeech").is_dir() else root
    known = sorted({*LIBRISPEECH, *MINI_LIBRISPEECH})
    parts = [part for part in known if (corpus / part).is_dir()]
    if not parts:
        raise ManifestError(f"{corpus} holds none of {', '.join(known)}")
    genders = _genders(corpus / "SPEAKERS.TXT")
    prepared: dict[str, Any] = lhotse_librispeech(corpus, dataset_parts=parts)
    written: dict[Path, int] = {}
    for part, manifests in prepared.items():
        rows = [_librispeech_row(manifests["recordings"], said, genders) for said in manifests["supervisions"]]
        written |= _write(
            out_dir / f"librispeech-{part}.jsonl", sorted(rows, key=lambda row: str(row["path"])), overwrite
        )
    return written


def _librispeech_row(recordings: Any, said: Any, genders: dict[str, str]) -> dict[str, Any]:
    row = {
        "path": Path(recordings[said.recording_id].sources[0].source),
        "speaker": said.speaker,
        "gender": genders.get(said.speaker),
        "corpus": "librispeech",
        "seconds": round(said.duration, 3),
        "text": said.text,
    }
    return {key: value for key, value in row.items() if value is not None}


def _genders(path: Path) -> dict[str, str]:
    """Speakers' genders: lines such as `14 | F | train-clean-360 | 25.03 | Kristin LeMoine`, comments with `;`."""
    if not path.is_file():
        return {}
    lines = [line.split("|") for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith(";")]
    return {cells[0].strip(): cells[1].strip() for cells in lines if len(cells) > 1}


def _seconds(path: Path) -> float:
    return round(count_seconds(path), 3)


def _write(manifest: Path, rows: Iterable[dict[str, Any]], overwrite: bool) -> dict[Path, int]:
    return {manifest: write_voices(manifest, rows, overwrite=overwrite)}
