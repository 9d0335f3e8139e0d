"""`unmingle faces`: a video in, who is seen when out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unmingle.cli.console import emit, emit_json, example, progress, table, warn
from unmingle.errors import FaceError, OutputExistsError

if TYPE_CHECKING:
    from unmingle.video.faces import FaceReport, FaceTrack

EXAMPLE = example("unmingle faces panel.mp4", "unmingle faces panel.mp4 --n-faces 3 -o faces --json")


def faces(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="A video: mp4, mov, mkv, webm, avi ...")],
    out_dir: Annotated[
        Path | None, typer.Option("--output-dir", "-o", help="Folder for the results [default: beside the video].")
    ] = None,
    n_faces: Annotated[
        int | None, typer.Option("--n-faces", "-n", min=1, metavar="N", help="Keep the N faces that are seen longest.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that are already there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Find the faces of a video, and say who is seen when.

    Faces are named face1, face2 ... from left to right. Writes NAME.faces.json (for every 1/25 s: where each face and
    its mouth are, and how far it is open) and a picture of each face, NAME_face1.png ...
    """
    from unmingle.inference.trackfiles import folder
    from unmingle.video.faces import find_faces

    folder_path = video.parent if out_dir is None else out_dir
    listing = folder_path / f"{video.stem}.faces.json"
    _refuse_what_is_there([listing], overwrite=overwrite)
    with progress(video.name) as report:
        found = find_faces(video, n_faces=n_faces, progress=report)
    if not found.tracks:
        raise FaceError(f"{video}: " + "; ".join(found.warnings))
    pictures = [folder_path / f"{video.stem}_{track.name}.png" for track in found.tracks]
    _refuse_what_is_there(pictures, overwrite=overwrite)
    with folder(folder_path):
        _write(found, video, listing, pictures, overwrite=overwrite)
    for sentence in found.warnings:
        warn(f"{video.name}: {sentence}")
    _print(found, video, listing, pictures, as_json=as_json)


def _write(found: FaceReport, video: Path, listing: Path, pictures: list[Path], *, overwrite: bool) -> None:
    from unmingle.video.facefile import write_faces, write_picture

    for thumbnail, path in zip(found.thumbnails, pictures, strict=True):
        write_picture(thumbnail, path, overwrite=overwrite)
    write_faces(found, listing, source=video.name, overwrite=overwrite)
    number = len(pictures) + 1
    while overwrite and (left_over := listing.parent / f"{video.stem}_face{number}.png").exists():  # of an earlier run
        left_over.unlink()
        number += 1


def _refuse_what_is_there(paths: list[Path], *, overwrite: bool) -> None:
    for path in paths:
        if path.exists() and not overwrite:
            raise OutputExistsError(f"{path} is already there; give --overwrite, or another folder with -o")


def _print(found: FaceReport, video: Path, listing: Path, pictures: list[Path], *, as_json: bool) -> None:
    from unmingle.video.facefile import describe_faces

    if as_json:
        described = describe_faces(found, str(video))
        for face, path in zip(described["faces"], pictures, strict=True):
            face["picture"] = str(path)
        emit_json({**described, "listing": str(listing)})
        return
    header = ("face", "seen, s", "from - to, s", "centre", "width", "picture")
    rows = [_row(track, path) for track, path in zip(found.tracks, pictures, strict=True)]
    emit(table(header, rows, right=(1, 3, 4)))
    emit(str(listing))


def _row(track: FaceTrack, picture: Path) -> tuple[object, ...]:
    x, y, width, height = track.boxes[track.present].mean(axis=0).tolist()
    when = ", ".join(f"{start:.2f} - {end:.2f}" for start, end in track.intervals)
    return (
        track.name,
        f"{track.seconds:.2f}",
        when,
        f"{x + width / 2:.0f}, {y + height / 2:.0f}",
        f"{width:.0f}",
        picture,
    )
