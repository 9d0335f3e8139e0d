"""What is read and written when there are many inputs; no sound and no network is needed here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from unmingle.errors import AudioReadError, OutputExistsError
from unmingle.inference.inputs import plan_jobs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.wav", "a.MP3", "notes.txt", ".hidden.wav", "sub/c.mp4", ".cache/d.wav"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "in"


def test_a_file_is_written_beside_itself(folder: Path) -> None:
    (job,) = plan_jobs([folder / "b.wav"])
    assert job.tracks(2) == [folder / "b_spk1.wav", folder / "b_spk2.wav"]
    assert job.sidecar == folder / "b.separation.json"


def test_tracks_take_the_format_asked_for(folder: Path) -> None:
    (job,) = plan_jobs([folder / "a.MP3"], out_dir="out", format="flac")
    assert job.tracks(1) == [Path("out/a_spk1.flac")]


def test_a_folder_is_searched_for_recordings_and_keeps_its_structure(folder: Path, tmp_path: Path) -> None:
    jobs = plan_jobs([folder], out_dir=tmp_path / "out")
    assert [job.source.name for job in jobs] == ["a.MP3", "b.wav", "c.mp4"]
    assert jobs[2].sidecar == tmp_path / "out" / "sub" / "c.separation.json"


def test_a_pattern_is_expanded(folder: Path) -> None:
    assert [job.source.name for job in plan_jobs([f"{folder}/**/*.[wm]*"])] == ["b.wav", "c.mp4"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(folder: Path) -> None:
    (folder / "b[1].wav").touch()
    (job,) = plan_jobs([folder / "b[1].wav"])
    assert job.source == folder / "b[1].wav"


def test_a_missing_file_still_becomes_a_job(folder: Path) -> None:
    assert len(plan_jobs([folder / "b.wav", folder / "missing.wav"])) == 2


def test_a_recording_named_twice_is_one_job(folder: Path) -> None:
    assert len(plan_jobs([folder / "b.wav", folder, folder / "sub" / ".." / "b.wav"])) == 3


def test_tracks_of_an_earlier_separation_are_not_inputs(folder: Path) -> None:
    for name in ("b_spk1.wav", "b_spk2.wav", "b_residual.wav", "b.separation.json"):
        (folder / name).touch()
    assert [job.source.name for job in plan_jobs([folder])] == ["a.MP3", "b.wav", "c.mp4"]


def test_videos_that_an_earlier_separation_rendered_are_not_inputs(folder: Path) -> None:
    (folder / "c_alice.mp4").touch()
    (folder / "c.separation.json").write_text(json.dumps({"tracks": [], "renders": ["c_alice.mp4"]}))
    assert [job.source.name for job in plan_jobs([folder])] == ["a.MP3", "b.wav", "c.mp4"]


def test_a_recording_that_only_looks_like_a_track_is_an_input(folder: Path) -> None:
    (folder / "panel_spk1.wav").touch()
    assert "panel_spk1.wav" in [job.source.name for job in plan_jobs([folder])]


@pytest.mark.parametrize("given", ["empty", "empty/*.wav"])
def test_a_place_without_recordings_is_refused(tmp_path: Path, given: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(AudioReadError, match="no recording"):
        plan_jobs([tmp_path / given])


def test_two_inputs_of_one_name_are_refused_by_both_names(folder: Path, tmp_path: Path) -> None:
    (folder / "sub" / "b.wav").touch()
    with pytest.raises(OutputExistsError, match=r"in/b\.wav and .*in/sub/b\.wav would both write"):
        plan_jobs([folder / "b.wav", folder / "sub" / "b.wav"], out_dir=tmp_path / "out")
    assert len(plan_jobs([folder / "b.wav", folder / "sub" / "b.wav"])) == 2


@pytest.mark.parametrize(
    ("name", "other", "settings"),
    [
        ("b.wav", "b_spk1.wav", {}),
        ("b.wav", "b_residual.wav", {}),
        ("b.mp4", "b_offscreen2.flac", {"format": "flac"}),
        ("b.mp4", "b_faces.mp4", {"render": True}),
        ("b.mp4", "b_face1.mp4", {"render": True}),
        ("b.wav", "b_alice.wav", {"enroll": [("alice", "elsewhere.wav")]}),
    ],
)
def test_an_input_is_never_an_output(folder: Path, name: str, other: str, settings: dict[str, Any]) -> None:
    for file in (name, other):
        (folder / file).touch()
    with pytest.raises(OutputExistsError, match=rf"{name} would write over the input .*{other}; choose another output"):
        plan_jobs([folder / name, folder / other], **settings)
    assert len(plan_jobs([folder / name, folder / other], out_dir=folder / "out", **settings)) == 2
    assert len(plan_jobs([folder / name, folder / other], format="flac" if other.endswith("wav") else "wav")) == 2


def test_an_enrolment_is_never_an_output(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for path in ("b_alice.wav", folder / "sub" / ".." / "b_alice.wav"):
        with pytest.raises(OutputExistsError, match=r"b\.wav would write over the enrolment .*b_alice\.wav"):
            plan_jobs([folder / "b.wav"], enroll=[("alice", str(path))])
    assert len(plan_jobs([folder / "b.wav"], enroll=[("bob", "b_alice.wav")])) == 1
    with pytest.raises(OutputExistsError, match=r"write over the enrolment b_spk1\.wav"):
        plan_jobs([folder / "b.wav"], enroll=[("alice", "b_spk1.wav")])


def test_a_named_track_of_an_earlier_separation_is_not_input_beside_its_recording(folder: Path) -> None:
    (folder / "b_alice.wav").touch()
    (folder / "b.separation.json").write_text('{"tracks": [{"path": "b_alice.wav"}]}')
    with pytest.raises(OutputExistsError, match=r"write over the enrolment .*b_alice\.wav"):
        plan_jobs([folder / "b.wav"], enroll=[("bob", str(folder / "b_alice.wav"))])
    assert len(plan_jobs([folder / "b_alice.wav"])) == 1


def test_an_input_that_is_a_link_to_an_output_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "c_spk1.wav").touch()
    (folder / "c.wav").symlink_to(tmp_path / "out" / "c_spk1.wav")
    with pytest.raises(OutputExistsError, match=r"write over the input .*c\.wav"):
        plan_jobs([folder / "c.wav"], out_dir=tmp_path / "out")
