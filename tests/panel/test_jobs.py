"""A recording by its faces: which files, in whose name, and what is said about them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

import unmingle.audio.writing
import unmingle.inference.journal
import unmingle.panel.rendering
import unmingle.video.faces
from unmingle.audio.io import read_audio
from unmingle.errors import MissingExtraError, OutputError
from unmingle.inference.inputs import Job, plan_jobs
from unmingle.inference.jobs import Outcome, Settings
from unmingle.inference.report import SeparationOptions
from unmingle.panel.jobs import Looking, attempt
from unmingle.video.facefile import write_faces
from unmingle.video.tracks import FaceReport, FaceTrack

Run = Callable[..., Outcome]


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch, make_face: Callable[..., FaceTrack]) -> Callable[..., None]:
    """Have these mouths found in every picture, from left to right."""

    def show(*openings: np.ndarray, warnings: tuple[str, ...] = ()) -> None:
        faces = [make_face(f"face{k}", opening, x=50.0 * k - 45) for k, opening in enumerate(openings, start=1)]
        seconds = len(openings[0]) / 25 if openings else 4.0
        report = FaceReport(faces, seconds, (128, 64), warnings=list(warnings))
        monkeypatch.setattr(unmingle.video.faces, "find_faces", lambda path, **more: report)

    return show


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run(talk: Any, *, settings: Settings | None = None, **looking: Any) -> Outcome:
        return attempt(Job(talk.path, tmp_path / "out"), settings or Settings(talk.model), Looking(**looking))

    return run


def names(folder: Path) -> list[str]:
    found = folder.iterdir() if folder.exists() else []
    return sorted(path.name for path in found if path.suffix != ".rttm")


def done(outcome: Outcome) -> dict[str, Any]:
    assert outcome.state == "done", outcome.error
    assert outcome.report is not None
    return outcome.report


def belongs(track: Path, opening: np.ndarray) -> float:
    """Correlation of a track's loudness with a mouth, a tick before."""
    samples, rate = sf.read(track)
    power = np.square(samples[: len(samples) // (rate // 25) * (rate // 25)].reshape(-1, rate // 25)).mean(axis=1)
    n = min(len(power), len(opening))
    return float(np.corrcoef(np.sqrt(power[1:n]), opening[: n - 1])[0, 1])


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_every_face_gets_the_voice_of_its_mouth(
    order: tuple[int, int], run: Run, show: Callable[..., None], make_talk: Callable[..., Any], tmp_path: Path
) -> None:
    talk = make_talk()
    show(*talk.openings[list(order)])
    report = done(run(talk))
    assert names(tmp_path / "out") == ["talk.separation.json", "talk_face1.wav", "talk_face2.wav"]
    for number, mouth in enumerate(order, start=1):
        assert belongs(tmp_path / "out" / f"talk_face{number}.wav", talk.openings[mouth]) > 0.9
    assert (
        [face["name"] for face in report["faces"]]
        == [track["name"] for track in report["tracks"]]
        == ["face1", "face2"]
    )
    assert all(face["confidence"] > 0.9 for face in report["faces"])
    assert (report["method"], report["warnings"], report["video_size"]) == ("ear", [], [128, 64])
    assert report["settings"]["faces"] == "auto"
    assert {turn["track"] for turn in report["segments"]} <= {"face1", "face2"}
    assert report["faces"][0]["intervals"] == [[0.0, 4.0]]
    assert json.loads((tmp_path / "out" / "talk.separation.json").read_text()) == json.loads(json.dumps(report))
    total = sum(read_audio(tmp_path / "out" / f"talk_face{k}.wav").samples[0] for k in (1, 2))
    np.testing.assert_allclose(total, read_audio(talk.path).samples[0], atol=2e-4)


def test_a_voice_without_a_face_is_offscreen(
    run: Run, show: Callable[..., None], make_talk: Callable[..., Any], tmp_path: Path
) -> None:
    talk = make_talk()
    show(talk.openings[1])
    report = done(
        run(talk, settings=Settings(talk.model, SeparationOptions(keep_residual=True)), render="side-by-side")
    )
    assert [track["name"] for track in report["tracks"]] == ["face1", "offscreen1", "residual"]
    assert belongs(tmp_path / "out" / "talk_offscreen1.wav", talk.openings[0]) > 0.9
    assert any("no face goes with offscreen1" in sentence for sentence in report["warnings"])
    assert report["renders"] == ["talk_faces.mp4"]


def test_a_face_that_never_talks_is_silent(
    run: Run, show: Callable[..., None], make_talk: Callable[..., Any], tmp_path: Path
) -> None:
    talk = make_talk()
    show(talk.openings[0], np.full(100, 0.05), talk.openings[1])
    report = done(run(talk, render="faces"))
    assert [track["name"] for track in report["tracks"]] == ["face1", "face2", "face3"]
    silent = read_audio(tmp_path / "out" / "talk_face2.wav").samples
    assert (np.abs(silent).max(), silent.shape) == (0.0, read_audio(talk.path).samples.shape)
    assert (report["faces"][1]["talks"], report["faces"][1]["voice"]) == (False, None)
    assert any("face2 never moves its mouth" in sentence for sentence in report["warnings"])
    assert report["renders"] == [f"talk_face{k}.mp4" for k in (1, 2, 3)]
    assert all((tmp_path / "out" / name).is_file() for name in report["renders"])


def test_long_tracks_of_faces_get_headers_that_can_say_so(
    run: Run, show: Callable[..., None], make_talk: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unmingle.audio.writing, "_LARGEST_WAV", 100_000)
    talk = make_talk(1)
    first, still = np.arange(100) < 50, np.full(100, 0.05)
    show(np.where(first, talk.openings[0], np.nan), still, np.where(first, np.nan, talk.openings[0]))
    done(run(talk))
    files = [tmp_path / "out" / f"talk_face{k}.wav" for k in (1, 2, 3)]
    assert [sf.info(path).format for path in files] == ["RF64"] * 3


def test_more_faces_than_voices_are_told(run: Run, show: Callable[..., None], make_talk: Callable[..., Any]) -> None:
    talk = make_talk()
    stranger = make_talk(1, seed=5).openings[0]
    show(talk.openings[0], stranger, talk.openings[1])
    report = done(run(talk))
    assert [face["voice"] is None for face in report["faces"]] == [False, True, False]
    assert any("face2 got none of the 2 voices" in sentence for sentence in report["warnings"])


def test_a_still_picture_gives_no_face_a_voice(
    run: Run, show: Callable[..., None], make_talk: Callable[..., Any]
) -> None:
    talk = make_talk()
    show(np.full(100, 0.05), np.full(100, 0.1))
    report = done(run(talk))
    assert [track["name"] for track in report["tracks"]] == ["face1", "face2", "offscreen1", "offscreen2"]
    assert sum("never moves its mouth" in sentence for sentence in report["warnings"]) == 2


def test_people_who_change_places_share_their_voice_between_two_faces(
    run: Run, show: Callable[..., None], make_talk: Callable[..., Any], tmp_path: Path
) -> None:
    talk = make_talk(seconds=12.0)
    first, second = np.arange(300) < 150, np.arange(300) >= 150
    one, other = talk.openings
    show(
        *(
            np.where(when, mouth, np.nan)
            for when, mouth in [(first, one), (first, other), (second, other), (second, one)]
        )
    )
    report = done(run(talk))
    voices = [face["voice"] for face in report["faces"]]
    assert voices[0] == voices[3] != voices[1] == voices[2]
    assert any("face1 and face4 are never seen together and share one voice" in one for one in report["warnings"])
    total = sum(read_audio(tmp_path / "out" / f"talk_face{k}.wav").samples[0] for k in (1, 2, 3, 4))
    np.testing.assert_allclose(total, read_audio(talk.path).samples[0], atol=4e-4)
    turns = report["segments"]
    assert all(turn["end"] <= 6.0 for turn in turns if turn["track"] in ("face1", "face2"))
    assert all(turn["start"] >= 6.0 for turn in turns if turn["track"] in ("face3", "face4"))
    late = read_audio(tmp_path / "out" / "talk_face1.wav").samples[0, int(6.1 * 16_000) :]
    assert np.abs(late).max() == 0.0


def test_without_a_face_the_sound_alone_is_separated(
    run: Run, show: Callable[..., None], make_talk: Callable[..., Any], tmp_path: Path
) -> None:
    talk = make_talk()
    show()
    report = done(run(talk))
    assert names(tmp_path / "out") == ["talk.separation.json", "talk_spk1.wav", "talk_spk2.wav"]
    assert report["faces"] == []
    assert any("no face is seen" in sentence and "by ear alone" in sentence for sentence in report["warnings"])


@pytest.mark.parametrize("looking", [{"faces": 2}, {"render": "faces"}])
def test_without_a_face_that_was_asked_for_the_job_fails(
    looking: dict[str, Any], run: Run, show: Callable[..., None], make_talk: Callable[..., Any], tmp_path: Path
) -> None:
    show()
    outcome = run(make_talk(), **looking)
    assert outcome.state == "failed"
    assert "no face is seen" in str(outcome.error)
    assert names(tmp_path / "out") == []


def test_without_the_packages_the_sound_alone_is_separated(
    run: Run, make_talk: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_faces(path: Path, **more: object) -> FaceReport:
        raise MissingExtraError("opencv-python-headless", extra="video", purpose="finding faces")

    monkeypatch.setattr(unmingle.video.faces, "find_faces", find_faces)
    talk = make_talk()
    report = done(run(talk))
    assert any("unmingle[video]" in sentence for sentence in report["warnings"])
    assert [track["name"] for track in report["tracks"]] == ["spk1", "spk2"]


def test_off_does_not_look(run: Run, make_talk: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(unmingle.video.faces, "find_faces")
    report = done(run(make_talk(), faces="off"))
    assert [track["name"] for track in report["tracks"]] == ["spk1", "spk2"]
    assert "faces" not in report


def test_sound_alone_is_not_looked_at(
    run: Run, make_talk: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(unmingle.video.faces, "find_faces")
    talk = make_talk()
    sf.write(tmp_path / "in" / "talk.wav", read_audio(talk.path).samples[0], 16_000)
    sound = replace(talk, path=tmp_path / "in" / "talk.wav")
    assert "faces" not in done(run(sound))


def test_faces_that_were_asked_for_need_a_picture(run: Run, make_talk: Callable[..., Any], tmp_path: Path) -> None:
    talk = make_talk()
    sf.write(tmp_path / "in" / "talk.wav", read_audio(talk.path).samples[0], 16_000)
    outcome = run(replace(talk, path=tmp_path / "in" / "talk.wav"), faces=2)
    assert outcome.state == "failed"
    assert "no picture" in str(outcome.error)


def test_a_video_without_sound_is_refused(
    run: Run, make_talk: Callable[..., Any], write_video: Callable[..., Path], tmp_path: Path
) -> None:
    talk = make_talk()
    write_video(talk.path, np.zeros((5, 64, 128, 3), np.uint8), [k / 25 for k in range(5)], None)
    outcome = run(talk)
    assert outcome.state == "failed"
    assert "no sound track" in str(outcome.error)


def test_faces_of_a_file_are_taken_and_must_belong_to_the_video(
    run: Run, make_talk: Callable[..., Any], make_face: Callable[..., FaceTrack], tmp_path: Path
) -> None:
    talk = make_talk()
    faces = [make_face("face1", talk.openings[1]), make_face("face2", talk.openings[0], x=70)]
    write_faces(FaceReport(faces, 4.0, (128, 64)), tmp_path / "faces.json")
    done(run(talk, faces=tmp_path / "faces.json"))
    assert belongs(tmp_path / "out" / "talk_face1.wav", talk.openings[1]) > 0.9
    write_faces(FaceReport(faces, 4.0, (640, 360)), tmp_path / "other.json")
    outcome = run(talk, faces=tmp_path / "other.json", settings=Settings(talk.model, overwrite=True))
    assert "faces of a video of 640 x 360" in str(outcome.error)


def test_a_face_may_have_the_name_of_a_voice_by_number(
    run: Run,
    make_talk: Callable[..., Any],
    make_face: Callable[..., FaceTrack],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    talk = make_talk(3)
    faces = [make_face(f"spk{k}", talk.openings[k % 3], x=10 * k) for k in (1, 2, 3)]  # each is another's number
    seen = FaceReport(faces, 4.0, (128, 64))
    monkeypatch.setattr(unmingle.video.faces, "find_faces", lambda path, **more: seen)
    report = done(run(talk))
    assert [track["name"] for track in report["tracks"]] == ["spk1", "spk2", "spk3"]
    for k in (1, 2, 3):
        assert belongs(tmp_path / "out" / f"talk_spk{k}.wav", talk.openings[k % 3]) > 0.9


def test_a_face_called_like_an_enrolled_voice_is_refused_without_a_trace(
    run: Run, make_talk: Callable[..., Any], make_face: Callable[..., FaceTrack], tmp_path: Path
) -> None:
    talk = make_talk()
    write_faces(FaceReport([make_face("Guest", talk.openings[1])], 4.0, (128, 64)), tmp_path / "faces.json")
    settings = Settings(talk.model, SeparationOptions(enroll=(("guest", "guest.wav"),)))
    assert "both called Guest" in str(run(talk, settings=settings, faces=tmp_path / "faces.json").error)
    assert names(tmp_path / "out") == []


def test_nothing_is_overwritten_unasked_and_done_is_done(
    run: Run, show: Callable[..., None], make_talk: Callable[..., Any], tmp_path: Path
) -> None:
    talk, out = make_talk(), tmp_path / "out"
    show(*talk.openings)
    out.mkdir()
    (out / "talk_face2.wav").write_text("precious")
    assert "talk_face2.wav is already there" in str(run(talk).error)
    assert names(out) == ["talk_face2.wav"]
    done(run(talk, settings=Settings(talk.model, overwrite=True), render="faces"))
    assert "talk_face1.mp4" in names(out)
    assert run(talk, settings=Settings(talk.model, resume=True), render="faces").state == "skipped"
    assert "render 'faces' instead of None" in str(run(talk, settings=Settings(talk.model, resume=True)).error)
    show(talk.openings[0])
    done(run(talk, settings=Settings(talk.model, overwrite=True)))
    assert names(out) == ["talk.separation.json", "talk_face1.wav", "talk_offscreen1.wav"]
    assert [job.source for job in plan_jobs([out.parent])] == [talk.path]
    for path in out.iterdir():
        if path.name != "talk_offscreen1.wav":
            path.unlink()
    assert "talk_offscreen1.wav is already there" in str(run(talk).error)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OutputError("no space")])
def test_whatever_goes_wrong_leaves_nothing_behind(
    error: BaseException,
    run: Run,
    show: Callable[..., None],
    make_talk: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise error

    talk = make_talk()
    show(*talk.openings)
    monkeypatch.setattr(unmingle.panel.rendering, "render_faces", fail)
    if isinstance(error, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            run(talk, render="faces")
    else:
        assert run(talk, render="faces").error == "no space"
    assert names(tmp_path / "out") == []


def test_results_that_were_there_stay_when_new_ones_cannot_get_their_names(
    run: Run, show: Callable[..., None], make_talk: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk, out = make_talk(), tmp_path / "out"
    show(*talk.openings)
    out.mkdir()
    for name in ("talk_face1.wav", "talk_face2.wav", "talk.rttm"):
        (out / name).write_text(f"old {name}")
    before = {path.name: path.read_text() for path in out.iterdir()}
    rename = Path.replace

    def fails(path: Path, target: Path) -> Path:
        if target == out / "talk.separation.json":
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", fails)
    outcome = run(talk, settings=Settings(talk.model, overwrite=True))
    assert "talk.separation.json cannot be written (No space left on device)" in str(outcome.error)
    assert {path.name: path.read_text() for path in out.iterdir()} == before


def test_what_a_killed_run_had_not_begun_to_name_is_not_replaced_after_it(
    run: Run, show: Callable[..., None], make_talk: Callable[..., Any], tmp_path: Path
) -> None:
    talk, out = make_talk(), tmp_path / "out"
    show(*talk.openings)
    out.mkdir()
    (out / "talk_face2.wav").write_text("precious")
    (out / ".talk.separation.json.part").write_text('{"overwrite": false}')  # it was looking for faces
    assert "talk_face2.wav is already there" in str(run(talk, settings=Settings(talk.model, resume=True)).error)
    assert (out / "talk_face2.wav").read_text() == "precious"


def test_what_was_heard_is_kept_when_a_video_cannot_be_made(
    run: Run, show: Callable[..., None], make_talk: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OutputError("no space")

    talk, windows = make_talk(seconds=6.0), []
    show(*talk.openings)
    monkeypatch.setattr(unmingle.inference.journal, "WORTH_KEEPING_SECONDS", 1.0)
    options, engine = SeparationOptions(window_seconds=2.0, overlap_seconds=0.5), talk.model.engine
    talk.model.engine = lambda mixture: windows.append(mixture) or engine(mixture)
    with monkeypatch.context() as patch:
        patch.setattr(unmingle.panel.rendering, "render_faces", fail)
        assert run(talk, settings=Settings(talk.model, options), render="faces").error == "no space"
    kept = sorted(path.name for path in (tmp_path / "out" / ".talk.faces").iterdir())
    assert kept == [".talk.journal", ".talk.tracks.part"]
    n_windows = len(windows)
    done(run(talk, settings=Settings(talk.model, options, resume=True), render="faces"))
    assert len(windows) - n_windows < n_windows - 1
    assert not (tmp_path / "out" / ".talk.faces").exists()
