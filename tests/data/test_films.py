"""Corpora of films: sound and lips out of tiny made-up folders, and mixtures of two."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from unmingle.audio.io import read_audio
from unmingle.data.check import check_manifest
from unmingle.data.corpora import FilmOptions, prepare
from unmingle.data.corpora.films import Film, FilmSettings, _steady, prepare_film, prepare_films
from unmingle.data.corpora.pairs import draw_pairs, held_out, read_pairs
from unmingle.data.crops import crops_shape, read_crops, write_crops
from unmingle.data.manifest import read_manifest
from unmingle.data.speech import list_speech
from unmingle.errors import FaceError, ManifestError, MissingFileError, OutputExistsError
from unmingle.simulation.mixing import ratio_db

RATE = 16_000


def write_film(path: Path, pictures: Sequence[np.ndarray], hertz: float = 300.0) -> Path:
    """25 pictures per second, and a tone of the same length."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.height, video.width = pictures[0].shape[:2]
        video.pix_fmt, video.bit_rate = "yuv420p", 4_000_000
        sound = container.add_stream("aac", rate=RATE, layout="mono")
        for picture in pictures:
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode())
        samples = 0.2 * np.sin(2 * np.pi * hertz * np.arange(len(pictures) * 640) / RATE, dtype=np.float32)
        frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate = RATE
        container.mux(sound.encode(frame))
        container.mux(sound.encode())
    return path


def black(seconds: float) -> list[np.ndarray]:
    return [np.zeros((32, 32, 3), np.uint8)] * round(25 * seconds)


@pytest.fixture
def lrs2(tmp_path: Path) -> tuple[Path, Path]:
    """Two clips for each split, two videos; and their mouth crops."""
    root, crops = tmp_path / "LRS2", tmp_path / "mouths"
    for split, videos in (("train", "ab"), ("val", "cd"), ("test", "ef")):
        for number, video in enumerate(videos):
            write_film(root / "mvlrs_v1" / "main" / video / "00001.mp4", black(2.2), 200 + 100 * number)
            write_crops(crops / f"{video}_00001.npz", np.full((55, 96, 96), ord(video), np.uint8))
        words = " NF MV" if split == "test" else ""
        (root / f"{split}.txt").write_text("".join(f"{video}/00001{words}\n" for video in videos))
    return root, crops


def test_lrs2_becomes_mixtures_with_lips(lrs2: tuple[Path, Path], tmp_path: Path) -> None:
    root, crops = lrs2
    seen: list[tuple[int, int]] = []
    options = FilmOptions(crops=crops, n_mixtures=3, progress=lambda *done: seen.append(done))
    prepared = prepare("lrs2", root, tmp_path / "out", films=options)
    assert [(one.manifest.name, one.n_lines) for one in prepared] == [
        ("tr.jsonl", 3),
        ("tr-voices.jsonl", 6),
        ("cv.jsonl", 3),
        ("tt.jsonl", 3),
    ]
    assert seen == [(1, 2), (2, 2)] * 3
    entry = read_manifest(prepared[0].manifest)[0]
    first, level, second, other = entry.id.rsplit("_00001_")[0], *entry.id.split("_")[2:4], entry.id.split("_")[-1]
    assert {first, second} == {"a", "b"}
    assert float(level) == -float(other)
    sources = [read_audio(path).samples[0] for path in entry.sources]
    assert {len(source) for source in sources} == {32_000}
    assert ratio_db(*sources) == pytest.approx(2 * float(level), abs=0.01)
    peak = max(np.abs(read_audio(path).samples).max() for path in (entry.mixture, *entry.sources))
    assert peak == pytest.approx(0.9, abs=1e-3)
    assert [read_crops(path)[0, 0, 0] for path in entry.video] == [ord(name) for name in entry.speakers]
    for one in (prepared[0], *prepared[2:]):
        report = check_manifest(one.manifest)
        assert (report.problems, report.n_explained) == ((), 3)
    voices = list_speech(prepared[1].manifest)
    assert {voice.speaker for voice in voices} == {"a_00001", "b_00001"}
    assert all(voice.video is not None and crops_shape(voice.video) == (50, 96, 96) for voice in voices)


def test_preparing_goes_on_where_it_was(lrs2: tuple[Path, Path], tmp_path: Path) -> None:
    root, crops = lrs2
    prepared = prepare("lrs2", root, tmp_path / "out", films=FilmOptions(crops=crops, n_mixtures=2))
    text = prepared[0].manifest.read_text()
    mixture = read_manifest(prepared[0].manifest)[0].mixture
    before, first = mixture.stat().st_mtime_ns, mixture.read_bytes()
    prepare("lrs2", root, tmp_path / "out", films=FilmOptions(n_mixtures=2))  # nothing is left to cut
    assert mixture.stat().st_mtime_ns == before
    mixture.unlink()
    prepare("lrs2", root, tmp_path / "out", films=FilmOptions(n_mixtures=2))
    assert mixture.read_bytes() == first
    assert prepared[0].manifest.read_text() == text
    with pytest.raises(OutputExistsError):
        prepare("lrs2", root, tmp_path / "out", films=FilmOptions(n_mixtures=1))


def test_published_lists_say_which_clips_are_mixed(lrs2: tuple[Path, Path], tmp_path: Path) -> None:
    root, crops = lrs2
    lists = tmp_path / "lists"
    lists.mkdir()
    for split, pair in (("tr", "ab"), ("cv", "cd"), ("tt", "fe")):
        one, other = (f"main/{video}/00001.wav" for video in pair)
        (lists / f"mix_2_spk_{split}.txt").write_text(f"{one} 1.5 {other} -1.5\n")
    prepared = prepare("lrs2", root, tmp_path / "out", films=FilmOptions(crops=crops, lists=lists))
    entries = [read_manifest(one.manifest)[0] for one in prepared if "voices" not in one.manifest.name]
    assert [entry.id for entry in entries] == [
        "a_00001_1.5_b_00001_-1.5",
        "c_00001_1.5_d_00001_-1.5",
        "f_00001_1.5_e_00001_-1.5",
    ]
    assert entries[0].mixture.relative_to(tmp_path / "out").as_posix() == f"tr/mix/{entries[0].id}.wav"
    (lists / "mix_2_spk_tr.txt").write_text("main/x/00001.wav 1 main/a/00001.wav -1\n")
    with pytest.raises(ManifestError, match=r"1 clips of a mixture list are not in .*; one is x_00001"):
        prepare("lrs2", root, tmp_path / "out", films=FilmOptions(crops=crops, lists=lists))
    (lists / "mix_2_spk_tr.txt").write_text("main/x/00001.wav 1\n")
    with pytest.raises(ManifestError, match="line 1: wanted `clip dB clip dB`"):
        read_pairs(lists / "mix_2_spk_tr.txt", id_parts=2)
    (lists / "mix_2_spk_tr.txt").unlink()
    with pytest.raises(MissingFileError, match="holds 0 lists for tr"):
        prepare("lrs2", root, tmp_path / "out", films=FilmOptions(crops=crops, lists=lists))


def test_lrs3_and_voxceleb2_are_found_as_they_are_published(tmp_path: Path) -> None:
    crops = tmp_path / "mouths"
    places = [f"lrs3/{part}/talk{n}/00001.mp4" for part in ("trainval", "test") for n in range(4)]
    places += [f"vox/{part}/mp4/id0{n}/abc/00001.mp4" for part in ("dev", "test") for n in range(4)]
    for place in places:
        film = write_film(tmp_path / place, black(2.1))
        name = "_".join(film.with_suffix("").parts[-3 if "vox" in place else -2 :])
        write_crops(crops / f"{name}.npz", np.zeros((50, 96, 96), np.uint8))
    for corpus, folder, first in (("lrs3", "lrs3", "talk"), ("voxceleb2", "vox", "id0")):
        options = FilmOptions(crops=crops, n_mixtures=2)
        prepared = prepare(corpus, tmp_path / folder, tmp_path / "out" / corpus, films=options)
        speakers = [
            {name for entry in read_manifest(one.manifest) for name in entry.speakers}
            for one in prepared
            if "voices" not in one.manifest.name
        ]
        assert all(name.startswith(first) for group in speakers for name in group)
        assert not speakers[0] & speakers[1]
    for corpus in ("lrs2", "lrs3", "voxceleb2"):
        with pytest.raises(ManifestError, match="holds no"):
            prepare(corpus, tmp_path / "mouths", tmp_path / "out" / "x")


def test_any_films_become_voices_with_lips(tmp_path: Path) -> None:
    crops = tmp_path / "mouths"
    write_film(tmp_path / "films" / "anna" / "one.mp4", black(0.8))
    write_film(tmp_path / "films" / "carl_two.mp4", black(1.2))
    soundfile.write(tmp_path / "films" / "carl_two.wav", np.full((48_000, 2), 0.25), 48_000)
    for name in ("anna_one", "carl_two"):
        write_crops(crops / f"{name}.npz", np.zeros((30, 96, 96), np.uint8))
    (prepared,) = prepare("films", tmp_path / "films", tmp_path / "out", films=FilmOptions(crops=crops))
    anna, carl = list_speech(prepared.manifest)
    assert (anna.speaker, carl.speaker) == ("anna", "carl")
    sound = read_audio(carl.path)
    assert (sound.sample_rate, sound.samples.shape) == (16_000, (1, 16_000))
    assert sound.samples[0, 8000] == pytest.approx(0.25, abs=1e-3)
    assert crops_shape(carl.video)[0] == 25
    write_crops(crops / "anna_one.npz", np.zeros((9, 96, 96), np.uint8))
    (short,) = prepare("films", tmp_path / "films", tmp_path / "again", films=FilmOptions(crops=crops))
    assert [voice.speaker for voice in list_speech(short.manifest)] == ["carl"]
    with pytest.raises(ManifestError, match="holds no films"):
        prepare("films", crops, tmp_path / "out")
    (tmp_path / "films" / "anna_one.mkv").touch()
    with pytest.raises(ManifestError, match="would both be called anna_one; rename"):
        prepare("films", tmp_path / "films", tmp_path / "out")


def test_films_that_cannot_be_used_are_left_out_and_say_why(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "damaged.mp4").write_bytes(b"no film")
    short = write_film(tmp_path / "short.mp4", black(1.0))
    films = [Film("damaged", tmp_path / "damaged.mp4", "a"), Film("short", short, "b")]
    settings = FilmSettings(tmp_path / "out", seconds=2.0)
    assert prepare_films(films, settings) == []
    assert "2 of 2 films cannot be used" in caplog.text
    said = {path.stem: path.read_text() for path in (tmp_path / "out" / "lips").iterdir()}
    assert "shorter than 2 s" in said["short"]
    assert "damaged.mp4" in said["damaged"]
    (tmp_path / "short.mp4").unlink()
    assert prepare_film(films[1], settings) is False  # is not opened again


def test_landmarks_that_are_there_are_used(tmp_path: Path) -> None:
    """A white square lies where the landmarks say that the mouth is; a few of them are not known."""
    pictures = [np.zeros((256, 256, 3), np.uint8) for _ in range(20)]
    points = np.zeros((20, 68, 2))
    for number, picture in enumerate(pictures):
        shift = np.array([number, 0])
        points[number, [33, 36, 39, 42, 45]] = (
            np.array([[128.870, 137.303], [92.522, 94.369], [112.772, 94.944], [145.525, 94.535], [166.677, 93.566]])
            + shift
            - [10, 0]
        )
        points[number, 48:] = np.array([129.3, 157.8]) + shift - [10, 0]
        picture[150:166, 111 + number : 128 + number] = 255
    points[5:8] = np.nan
    (tmp_path / "marks").mkdir()
    np.savez(tmp_path / "marks" / "clip.npz", data=points)
    film = Film("clip", write_film(tmp_path / "clip.mp4", pictures), "anna")
    settings = FilmSettings(tmp_path / "out", landmarks=tmp_path / "marks")
    assert prepare_film(film, settings)
    crops = read_crops(settings.lips_of(film)).astype(float)
    assert crops.shape == (22, 96, 96)  # coded sound ends a little late
    bright = crops > 128
    for frame in bright[:9]:  # where transforms still look ahead to what comes
        rows, columns = np.nonzero(frame)
        assert abs(rows.mean() - 48) < 2
        assert abs(columns.mean() - 48) < 8
    np.savez(tmp_path / "marks" / "clip.npz", data=points[:, :5])
    assert not prepare_film(Film("clip", film.path, "anna"), FilmSettings(tmp_path / "b", landmarks=tmp_path / "marks"))
    assert "wanted (22 frames, 68 points" in (tmp_path / "b" / "lips" / "clip.txt").read_text()


def test_faces_are_looked_for_where_nothing_is_known(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    from unmingle.video.drawn import draw_talking_face

    opening = 0.5 + 0.5 * np.sin(np.arange(30))
    film = Film("drawn", write_film(tmp_path / "drawn.mp4", draw_talking_face(opening, seed=1)), "anna")
    settings = FilmSettings(tmp_path / "out")
    assert prepare_film(film, settings)
    crops = read_crops(settings.lips_of(film))
    dark = (crops[:, 30:66, 30:66] < 60).sum((1, 2))
    assert np.corrcoef(dark[:30], opening)[0, 1] > 0.8


def test_where_no_face_is_seen_the_nearest_picture_stands_still() -> None:
    seen = np.array([0, 1, 1, 1, 0, 0, 0, 1, 0, 1, 1], bool)
    crops = np.arange(11, dtype=np.uint8)[:, None, None]
    steady = _steady(crops, seen, 11, Path("film.mp4"))
    assert steady.ravel().tolist() == [1, 1, 2, 3, 3, 3, 7, 7, 7, 9, 10]
    with pytest.raises(FaceError, match="seen in 5 of 11 frames"):
        _steady(crops, seen & (np.arange(11) > 1), 11, Path("film.mp4"))


def test_nobody_is_mixed_with_himself_and_validation_has_others() -> None:
    films = [Film(f"{speaker}{n}", Path("x"), speaker) for speaker in "abcdefgh" for n in range(3)]
    pairs = draw_pairs(films, 40, split="tr")
    assert pairs == draw_pairs(films, 40, split="tr")
    assert pairs != draw_pairs(films, 40, split="cv")
    assert all(pair.clips[0][0] != pair.clips[1][0] for pair in pairs)
    assert all(0 <= pair.levels[0] <= 5 for pair in pairs)
    train, valid = held_out(films, 0.25)
    assert len({film.speaker for film in valid}) == 2
    assert not {film.speaker for film in train} & {film.speaker for film in valid}
    with pytest.raises(ManifestError, match="nobody to mix"):
        draw_pairs(films[:3], 1, split="tr")
