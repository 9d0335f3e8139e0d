"""LRS2 (BBC) and LRS3 (TED): folders of short films, one per sentence, of one talking face each.

    LRS2    mvlrs_v1/main/VIDEO/CLIP.mp4, mvlrs_v1/pretrain/...    train.txt  val.txt  test.txt  [pretrain.txt]
    LRS3    trainval/TALK/CLIP.mp4  test/TALK/CLIP.mp4  [pretrain/TALK/CLIP.mp4]

Nobody names the speakers of LRS2; a video stands for one. LRS3 has no list to validate on: a twentieth of its talks is
kept back for that.
"""

from __future__ import annotations

from pathlib import Path

from unmingle.data.corpora.films import Film
from unmingle.data.corpora.pairs import FilmCorpus, clip_id, held_out
from unmingle.errors import ManifestError

_LRS3_VALIDATION = 0.05


def lrs2_films(root: Path) -> dict[str, list[Film]]:
    """The films of LRS2 by split, as its lists say.

    Raises:
        ManifestError: there are no lists, or a film that they name is not there.
    """
    base = root / "mvlrs_v1" if (root / "mvlrs_v1").is_dir() else root
    return {split: _listed(base, root, name) for split, name in (("tr", "train"), ("cv", "val"), ("tt", "test"))}


def _listed(base: Path, root: Path, name: str) -> list[Film]:
    path = next((folder / f"{name}.txt" for folder in (root, base) if (folder / f"{name}.txt").is_file()), None)
    if path is None:
        raise ManifestError(f"{root} holds no {name}.txt; the lists of LRS2 lie beside mvlrs_v1")
    places = [line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    films = [_film(base / "main" / f"{place}.mp4", place) for place in places]
    if missing := [film.path for film in films if not film.path.is_file()]:
        raise ManifestError(f"{len(missing)} of {len(films)} films in {path.name} are not there; one is {missing[0]}")
    return films


def lrs3_films(root: Path) -> dict[str, list[Film]]:
    """The films of LRS3 by split; `pretrain`, where it is there, belongs to training.

    Raises:
        ManifestError: the folders are not there.
    """
    found = {name: _under(root / name) for name in ("trainval", "pretrain", "test")}
    if not found["trainval"] or not found["test"]:
        raise ManifestError(f"{root} holds no films in trainval and test; give the folder of LRS3 that has them")
    train, valid = held_out([*found["trainval"], *found["pretrain"]], _LRS3_VALIDATION)
    return {"tr": train, "cv": valid, "tt": found["test"]}


def _under(folder: Path) -> list[Film]:
    return [_film(path, path.relative_to(folder).as_posix()) for path in sorted(folder.rglob("*.mp4"))]


def _film(path: Path, place: str) -> Film:
    return Film(clip_id(place, 2), path, speaker=Path(place).parts[0])


LRS2 = FilmCorpus(lrs2_films, {"tr": 20_000, "cv": 5_000, "tt": 3_000})
LRS3 = FilmCorpus(lrs3_films, {"tr": 50_000, "cv": 5_000, "tt": 3_000})
