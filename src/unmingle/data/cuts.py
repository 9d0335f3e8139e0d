"""Manifests to Lhotse and back.

An entry becomes a cut of the mixture whose custom fields hold the recordings of sources and noise (`source_1`, ...),
one supervision per speaker. Any Lhotse tool takes such cuts; a `MixedCut` from Lhotse's own mixing has no files of its
own and is refused with advice.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unmingle.data.manifest import Entry
from unmingle.data.speech import import_lhotse, load_cuts
from unmingle.errors import ManifestError

if TYPE_CHECKING:
    from lhotse import CutSet, MonoCut


def to_lhotse(entries: Iterable[Entry]) -> CutSet:
    """Cuts of the mixtures; the audio files are opened to learn their lengths.

    Raises:
        MissingExtraError: Lhotse is not installed.
    """
    lhotse = import_lhotse()
    return lhotse.CutSet.from_cuts(_to_cut(lhotse, entry) for entry in entries)


def _to_cut(lhotse: Any, entry: Entry) -> MonoCut:
    cut = lhotse.Recording.from_file(entry.mixture, recording_id=entry.id).to_cut()
    cut.id = entry.id
    custom: dict[str, Any] = {"unmingle": {"text": list(entry.text), "video": [str(path) for path in entry.video]}}
    custom["unmingle"]["extra"] = dict(entry.extra)
    for number, source in enumerate(entry.sources, start=1):
        custom[f"source_{number}"] = lhotse.Recording.from_file(source, recording_id=f"{entry.id}-source-{number}")
    if entry.noise:
        custom["noise"] = lhotse.Recording.from_file(entry.noise, recording_id=f"{entry.id}-noise")
    cut.custom = custom
    for number, speaker in enumerate(entry.speakers):
        cut.supervisions.append(
            lhotse.SupervisionSegment(
                id=f"{entry.id}-{number + 1}",
                recording_id=entry.id,
                start=0.0,
                duration=cut.duration,
                speaker=speaker,
                text=entry.text[number] if entry.text else None,
            )
        )
    return cut


def from_lhotse(cuts: Iterable[Any]) -> list[Entry]:
    """Entries of cuts that `to_lhotse` made, or that carry `source_1`, `source_2`, ... recordings as custom fields.

    Raises:
        ManifestError: a cut has no sources, or is not a whole file.
    """
    return [_from_cut(cut) for cut in cuts]


def read_lhotse(path: Path) -> list[Entry]:
    """The entries of a file of Lhotse cuts.

    Raises:
        ManifestError: as `load_cuts` and `from_lhotse`.
    """
    return from_lhotse(load_cuts(path))


def _from_cut(cut: Any) -> Entry:
    custom = getattr(cut, "custom", None) or {}
    if type(cut).__name__ == "MixedCut" or "source_1" not in custom:
        raise ManifestError(
            f"cut {cut.id} carries no separate sources (custom fields source_1, source_2, ...); "
            "save the audio of its parts first, or simulate mixtures with `unmingle data simulate`"
        )
    if cut.start != 0 or abs(cut.duration - cut.recording.duration) > 0.5 / cut.sampling_rate:
        raise ManifestError(f"cut {cut.id} is a part of its recording; save its audio first")
    ours = custom.get("unmingle", {})
    sources: list[Path] = []
    while f"source_{len(sources) + 1}" in custom:
        sources.append(_file_of(custom[f"source_{len(sources) + 1}"], cut.id))
    speakers = tuple(said.speaker for said in cut.supervisions if said.speaker)
    return Entry(
        id=cut.id,
        sample_rate=cut.sampling_rate,
        mixture=_file_of(cut.recording, cut.id),
        sources=tuple(sources),
        noise=_file_of(custom["noise"], cut.id) if "noise" in custom else None,
        video=tuple(Path(path) for path in ours.get("video", ())),
        speakers=speakers if len(speakers) == len(sources) else (),
        text=tuple(ours.get("text", ())),
        extra=ours.get("extra", {}),
    )


def _file_of(recording: Any, cut_id: str) -> Path:
    if recording.sources[0].type != "file" or recording.transforms:
        raise ManifestError(f"cut {cut_id}: recording {recording.id} is not a plain file; save its audio first")
    return Path(recording.sources[0].source)
