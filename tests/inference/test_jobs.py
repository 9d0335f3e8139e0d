"""Jobs over many recordings, with an engine that only pretends: no network runs here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import unmingle.inference.offline
from unmingle.errors import AudioReadError, MissingExtraError, OutputError, OutputExistsError
from unmingle.inference import jobs
from unmingle.inference.handle import Model, ModelEntry
from unmingle.inference.inputs import Job, plan_jobs
from unmingle.inference.jobs import Settings, attempt, read_sidecar, run_job
from unmingle.inference.report import SeparationOptions, SeparationReport, Track
from unmingle.presets import TDANetConfig

MODEL = Model("tiny", TDANetConfig(sample_rate=8000))


def pretend(path: Path, out_dir: Path, model: Model, options: SeparationOptions, **more: Any) -> SeparationReport:
    """Write what `separate_to_files` would write, as empty files."""
    if not path.exists():
        raise AudioReadError(f"{path} is damaged")
    out_dir.mkdir(parents=True, exist_ok=True)
    paths = [out_dir / f"{path.stem}_spk{number}.{more['format']}" for number in (1, 2)]
    for track in paths:
        track.touch()
    tracks = [Track(f"spk{number}", -20.0, 1.0, None, path) for number, path in enumerate(paths, start=1)]
    settings = {"keep_residual": options.keep_residual, "gate": options.gate, "level_dbfs": options.level_dbfs}
    settings |= {"window_seconds": options.window_seconds, "overlap_seconds": options.overlap_seconds}
    return SeparationReport(model.name, "0", 8000, 8000, tracks, ["made mono"], [], settings)


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setattr(unmingle.inference.offline, "separate_to_files", pretend)
    (tmp_path / "talk.wav").write_bytes(b"sound")
    return Job(tmp_path / "talk.wav", tmp_path / "out")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


COMPLETE = ["talk.rttm", "talk.separation.json", "talk_spk1.wav", "talk_spk2.wav"]


def test_a_job_writes_tracks_and_a_sidecar_that_describes_them(job: Job) -> None:
    outcome = attempt(job, Settings(MODEL))
    assert outcome.state == "done"
    assert names(job.out_dir) == COMPLETE
    said = json.loads(job.sidecar.read_text())
    assert said == outcome.report
    assert said["input"] == {"name": "talk.wav", "size_bytes": 5}
    assert said["model"] == "tiny"
    assert said["conversions"] == ["made mono"]
    assert [track["path"] for track in said["tracks"]] == ["talk_spk1.wav", "talk_spk2.wav"]


def test_a_failure_is_an_outcome_and_not_the_end(job: Job) -> None:
    job.source.unlink()
    outcome = attempt(job, Settings(MODEL))
    assert (outcome.state, outcome.report) == ("failed", None)
    assert "damaged" in str(outcome.error)


@pytest.mark.parametrize("there", COMPLETE)
def test_nothing_is_replaced_unless_asked_for(job: Job, there: str) -> None:
    job.out_dir.mkdir()
    (job.out_dir / there).write_text("mine")
    with pytest.raises(OutputExistsError, match=f"{there} is already there.*--overwrite"):
        run_job(job, Settings(MODEL))
    assert names(job.out_dir) == [there]
    assert (job.out_dir / there).read_text() == "mine"
    run_job(job, Settings(MODEL, overwrite=True))
    assert names(job.out_dir) == COMPLETE


def test_a_folder_in_the_place_of_the_report_is_refused_before_the_tracks_are_replaced(job: Job) -> None:
    job.sidecar.mkdir(parents=True)
    old = job.out_dir / COMPLETE[-1]
    old.write_text("mine")
    with pytest.raises(OutputError, match="is a folder"):
        run_job(job, Settings(MODEL, overwrite=True))
    assert old.read_text() == "mine"


def test_overwriting_leaves_nothing_of_the_separation_before(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    run_job(job, Settings(MODEL))
    said = json.loads(job.sidecar.read_text())
    more = ["talk_spk3.flac", "talk_residual.wav", "other_spk3.wav", "../talk.wav"]
    for name in more:
        (job.out_dir / name).touch()
        said["tracks"].append({**said["tracks"][0], "path": name})
    job.sidecar.write_text(json.dumps(said))
    job.picture.touch()
    run_job(job, Settings(MODEL, overwrite=True))
    assert names(job.out_dir) == ["other_spk3.wav", *COMPLETE]
    assert job.source.exists()


def test_resume_skips_what_is_complete(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    first = attempt(job, Settings(MODEL))
    monkeypatch.setattr(jobs, "run_job", None)
    again = attempt(job, Settings(MODEL, resume=True))
    assert (again.state, again.report) == ("skipped", first.report)


@pytest.mark.parametrize(
    "unfinish",
    [
        lambda job: job.sidecar.unlink(),
        lambda job: job.sidecar.write_text('{"tracks": [{"path"'),
        lambda job: job.sidecar.write_text("[]"),
        lambda job: job.sidecar.write_text('{"tracks": 3}'),
        lambda job: job.tracks(2)[1].unlink(),
    ],
)
def test_resume_does_again_what_is_not_complete(job: Job, unfinish: Callable[[Job], object]) -> None:
    attempt(job, Settings(MODEL))
    unfinish(job)
    assert attempt(job, Settings(MODEL, resume=True, overwrite=True)).state == "done"
    assert names(job.out_dir) == COMPLETE
    assert read_sidecar(job) is not None


def test_resume_says_why_it_stops_at_tracks_without_a_report(job: Job) -> None:
    attempt(job, Settings(MODEL))
    job.sidecar.unlink()
    error = attempt(job, Settings(MODEL, resume=True)).error
    assert error is not None
    assert "already there, but no report says that it is complete; --overwrite replaces it" in error


@pytest.mark.parametrize(
    ("settings", "difference"),
    [
        (Settings(Model("other", MODEL.config), resume=True), "model 'tiny' instead of 'other'"),
        (Settings(MODEL, SeparationOptions(gate=True), resume=True), "gate False instead of True"),
    ],
)
def test_resume_refuses_what_was_done_differently(job: Job, settings: Settings, difference: str) -> None:
    attempt(job, Settings(MODEL))
    outcome = attempt(job, settings)
    assert outcome.state == "failed"
    assert difference in str(outcome.error)


def test_resume_notices_that_the_recording_changed(job: Job) -> None:
    attempt(job, Settings(MODEL))
    job.source.write_bytes(b"longer sound")
    assert "another version of the recording" in str(attempt(job, Settings(MODEL, resume=True)).error)
    assert attempt(job, Settings(MODEL, resume=True, overwrite=True)).state == "done"


def test_a_sidecar_that_cannot_be_written_takes_its_tracks_along(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, *_args: object, **_more: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OutputError, match=r"talk\.rttm cannot be written \(No space left on device\)"):
        run_job(job, Settings(MODEL))
    assert names(job.out_dir) == []


def test_a_missing_drawing_package_is_told_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match=r"unmingle\[plot\]"):
        Settings(MODEL, plot=True)


def test_a_model_for_another_number_of_speakers_is_followed_by_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "load_model", lambda _name, **_more: MODEL)
    monkeypatch.setattr(jobs, "list_models", list)
    assert jobs.choose_model("tiny", n_src=2) is MODEL
    assert jobs.choose_model("tiny", n_src=3) is MODEL


def test_a_bundled_model_for_the_number_of_speakers_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    three = Model("three", TDANetConfig(n_src=3))
    monkeypatch.setattr(jobs, "load_model", lambda name, **_more: three if name == "three" else MODEL)
    monkeypatch.setattr(jobs, "list_models", lambda: [ModelEntry("three", 16_000, 3, False, 1, "MIT", bundled=True)])
    assert jobs.choose_model(None, n_src=3) is three
    assert jobs.choose_model("tiny", n_src=3) is MODEL


def test_jobs_of_a_folder_do_not_meet(job: Job, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "talk.wav").touch()
    outcomes = [attempt(one, Settings(MODEL)) for one in plan_jobs([tmp_path], out_dir=tmp_path / "all")]
    assert [outcome.state for outcome in outcomes] == ["done", "done"]
    assert names(tmp_path / "all" / "sub") == COMPLETE
