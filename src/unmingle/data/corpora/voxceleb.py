"""VoxCeleb2: films of celebrities, cut out of what they were seen in, and any other tree of films.

    dev/mp4/SPEAKER/VIDEO/CLIP.mp4    test/mp4/SPEAKER/VIDEO/CLIP.mp4
    [dev/aac/SPEAKER/VIDEO/CLIP.m4a]  the sound, where the films have none

It has no list to validate on: a fiftieth of its speakers is kept back for that.
"""

from __future__ import annotations

from pathlib import Path

from unmingle.data.corpora.films import Film
from unmingle.data.corpora.pairs import FilmCorpus, clip_id, held_out
from unmingle.errors import ManifestError, MissingFileError

_VALIDATION = 0.02
_FILMS = (".mp4", ".mkv", ".mov", ".avi", ".mpg", ".webm")
_SOUNDS = (".flac", ".wav")


def voxceleb2_films(root: Path) -> dict[str, list[Film]]:
    """The films of VoxCeleb2 by split.

    Raises:
        ManifestError: the folders are not there.
    """
    found = {part: _part(root / part) for part in ("dev", "test")}
    if not found["dev"] or not found["test"]:
        raise ManifestError(
            f"{root} holds no films in dev/mp4 and test/mp4; give the folder of VoxCeleb2 that has them"
        )
    train, valid = held_out(found["dev"], _VALIDATION)
    return {"tr": train, "cv": valid, "tt": found["test"]}


def _part(folder: Path) -> list[Film]:
    films: list[Film] = []
    for path in sorted((folder / "mp4").rglob("*.mp4")):
        place = path.relative_to(folder / "mp4")
        sound = folder / "aac" / place.with_suffix(".m4a")
        films.append(Film(clip_id(place.as_posix(), 3), path, place.parts[0], sound if sound.is_file() else None))
    return films


VOXCELEB2 = FilmCorpus(voxceleb2_films, {"tr": 100_000, "cv": 10_000, "tt": 3_000}, id_parts=3)


def films_in(root: Path) -> list[Film]:
    """Any films of one talking face each: the first folder names the speaker, or the word before the first underscore.

    A sound file beside a film, of the same name, is taken instead of the film's own sound.

    Raises:
        MissingFileError: there is no such folder.
        ManifestError: it holds no films.
    """
    if not root.is_dir():
        raise MissingFileError(f"there is no folder {root}")
    paths = [path for path in sorted(root.rglob("*")) if path.suffix.lower() in _FILMS]
    if not paths:
        raise ManifestError(f"{root} holds no films; wanted {', '.join(_FILMS)}")
    found: dict[str, Film] = {}
    for path in paths:
        film = _any_film(path, path.relative_to(root))
        if (other := found.setdefault(film.id, film)) is not film:
            raise ManifestError(f"{other.path} and {path} would both be called {film.id}; rename or move one of them")
    return list(found.values())


def _any_film(path: Path, place: Path) -> Film:
    speaker = place.parts[0] if len(place.parts) > 1 else place.stem.split("_")[0]
    sound = next((path.with_suffix(end) for end in _SOUNDS if path.with_suffix(end).is_file()), None)
    return Film("_".join(place.with_suffix("").parts), path, speaker, sound)
