"""Jobs over many recordings, with an engine that only pretends: no network runs here."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import unmingle.inference.offline
from unmingle.audio.renaming import Exchange
from unmingle.audio.temporary import hidden
from unmingle.errors import AudioReadError, MissingExtraError, OutputError, OutputExistsError
from unmingle.inference import jobs
from unmingle.inference.handle import Model, ModelEntry
from unmingle.inference.inputs import Job, plan_jobs
from unmingle.inference.jobs import Settings, attempt, read_sidecar, run_job
from unmingle.inference.report import SeparationOptions, SeparationReport, Track
from unmingle.inference.sidecar import unfinished
from unmingle.presets import TDANetConfig

MODEL = Model("tiny", TDANetConfig(sample_rate=8000))


@contextmanager
def pretend(
    path: Path, out_dir: Path, model: Model, options: SeparationOptions, **more: Any
) -> Generator[tuple[SeparationReport, SimpleNamespace]]:
    """Write what `separate_to_drafts` would write, as files of a few words."""
    if not path.exists():
        raise AudioReadError(f"{path} is damaged")
    paths = [out_dir / f"{path.stem}_spk{number}.{more['format']}" for number in (1, 2)]
    tracks = [Track(f"spk{number}", -20.0, 1.0, None, path) for number, path in enumerate(paths, start=1)]
    settings = {"keep_residual": options.keep_residual, "gate": options.gate, "level_dbfs": options.level_dbfs}
    settings |= {"window_seconds": options.window_seconds, "overlap_seconds": options.overlap_seconds}
    report = SeparationReport(model.name, "0", 8000, 8000, tracks, ["made mono"], [], settings)
    with ExitStack() as stack:
        drafts = [stack.enter_context(hidden(out_dir)) for _ in paths]
        for draft in drafts:
            draft.write_bytes(b"new")
        yield report, SimpleNamespace(drafts=list(zip(drafts, paths, strict=True)))


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setattr(unmingle.inference.offline, "separate_to_drafts", pretend)
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


def test_resume_notices_other_weights_of_the_same_name(job: Job, tmp_path: Path) -> None:
    weights = tmp_path / "best.safetensors"
    weights.write_bytes(b"of one run")
    attempt(job, Settings(replace(MODEL, path=weights)))
    assert attempt(job, Settings(replace(MODEL, path=weights), resume=True)).state == "skipped"
    weights.write_bytes(b"of another run")
    assert "other weights called tiny" in str(attempt(job, Settings(replace(MODEL, path=weights), resume=True)).error)


def test_resume_notices_that_the_recording_changed(job: Job) -> None:
    attempt(job, Settings(MODEL))
    job.source.write_bytes(b"longer sound")
    assert "another version of the recording" in str(attempt(job, Settings(MODEL, resume=True)).error)
    assert attempt(job, Settings(MODEL, resume=True, overwrite=True)).state == "done"


def full(self: Path, *_args: object, **_more: object) -> int:
    raise OSError(28, "No space left on device")


def test_a_sidecar_that_cannot_be_written_takes_its_tracks_along(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OutputError, match=r"talk\.rttm cannot be written \(No space left on device\)"):
        run_job(job, Settings(MODEL))
    assert names(job.out_dir) == []


def results_before(job: Job) -> dict[str, str]:
    """Results of another model with a track more, and a picture."""
    run_job(job, Settings(Model("before", MODEL.config)))
    said = json.loads(job.sidecar.read_text())
    said["tracks"].append({**said["tracks"][0], "path": "talk_spk3.wav"})
    job.sidecar.write_text(json.dumps(said))
    for name in ("talk_spk1.wav", "talk_spk2.wav", "talk_spk3.wav", "talk.rttm", job.picture.name):
        (job.out_dir / name).write_text(f"old {name}")
    return texts(job.out_dir)


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.parametrize("written", ["talk.rttm", "talk.separation.json"])
def test_results_that_were_there_stay_when_new_ones_cannot_be_written(
    job: Job, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    before = results_before(job)
    write_text, n_writes = Path.write_text, iter(range(9))

    def fails(self: Path, text: str, **more: Any) -> int:
        return full(self) if next(n_writes) == (written != "talk.rttm") else write_text(self, text, **more)

    monkeypatch.setattr(Path, "write_text", fails)
    with pytest.raises(OutputError, match=f"{written} cannot be written"):
        run_job(job, Settings(MODEL, overwrite=True))
    assert texts(job.out_dir) == before


@pytest.mark.parametrize("moment", range(4))
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_results_that_were_there_come_back_when_new_ones_cannot_get_their_names(
    job: Job, monkeypatch: pytest.MonkeyPatch, moment: int, error: BaseException
) -> None:
    before = results_before(job)
    rename, n_renames = Path.replace, iter(range(99))

    def fails(self: Path, target: Path) -> Path:
        if next(n_renames) == moment:
            raise error
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises((OutputError, KeyboardInterrupt)):
        run_job(job, Settings(MODEL, overwrite=True))
    assert texts(job.out_dir) == before
    monkeypatch.undo()
    monkeypatch.setattr(unmingle.inference.offline, "separate_to_drafts", pretend)
    run_job(job, Settings(MODEL, overwrite=True))
    assert names(job.out_dir) == COMPLETE


class KilledError(BaseException):
    """Nothing is tidied up after it."""


@pytest.mark.parametrize("again", [{}, {"resume": True}, {"overwrite": True}])
@pytest.mark.parametrize("moment", [1, 2, 4, 5])
def test_a_run_that_is_killed_amid_its_renames_is_undone_by_the_next(
    job: Job, monkeypatch: pytest.MonkeyPatch, moment: int, again: dict[str, bool]
) -> None:
    before = results_before(job)
    mark = unfinished(job)
    noted: list[bytes] = []
    rename = Path.replace

    def killed(self: Path, target: Path) -> Path:
        noted.append(mark.read_bytes())
        if len(noted) == moment:
            raise KilledError
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        for tidy in ("undo", "settle"):
            patch.setattr(Exchange, tidy, lambda self: None)
        if moment == 5:  # all have their names, the mark is still there
            run_job(job, Settings(MODEL, overwrite=True))
        else:
            with pytest.raises(KilledError):
                run_job(job, Settings(MODEL, overwrite=True))
    mark.write_bytes(noted[0])
    assert texts(job.out_dir) != before
    looked: list[dict[str, str]] = []

    @contextmanager
    def look(path: Path, out_dir: Path, *given: Any, **more: Any) -> Generator[Any]:
        looked.append({name: text for name, text in texts(job.out_dir).items() if not name.startswith(".")})
        with pretend(path, out_dir, *given, **more) as made:
            yield made

    monkeypatch.setattr(unmingle.inference.offline, "separate_to_drafts", look)
    outcome = attempt(job, Settings(MODEL, **again))
    if again:  # to replace was what the killed run had been asked for, and --resume goes on with it
        assert (outcome.state, looked) == ("done", [before])
        assert names(job.out_dir) == COMPLETE
    else:
        assert "already there" in str(outcome.error)
        assert texts(job.out_dir) == before


@pytest.mark.parametrize("there", COMPLETE)
@pytest.mark.parametrize("resume", [True, False])
def test_what_a_killed_run_had_not_begun_to_name_is_not_replaced_after_it(job: Job, there: str, resume: bool) -> None:
    job.out_dir.mkdir()
    (job.out_dir / there).write_text("mine")
    unfinished(job).write_text('{"overwrite": false}')
    outcome = attempt(job, Settings(MODEL, resume=resume))
    assert f"{there} is already there" in str(outcome.error)
    assert texts(job.out_dir) == {there: "mine"}


def test_results_that_a_killed_run_did_not_touch_are_complete(job: Job) -> None:
    run_job(job, Settings(MODEL))
    unfinished(job).write_text('{"overwrite": false}')
    assert attempt(job, Settings(MODEL, resume=True)).state == "skipped"
    unfinished(job).write_text('{"overwrite": true}')
    assert attempt(job, Settings(MODEL, resume=True)).state == "done"


def test_a_file_that_appears_during_the_work_is_not_replaced(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def slow(*given: Any, **more: Any) -> Generator[Any]:
        with pretend(*given, **more) as made:
            (job.out_dir / "talk_spk2.wav").write_text("mine")
            yield made

    monkeypatch.setattr(unmingle.inference.offline, "separate_to_drafts", slow)
    with pytest.raises(OutputExistsError, match=r"talk_spk2\.wav is already there"):
        run_job(job, Settings(MODEL))
    assert texts(job.out_dir) == {"talk_spk2.wav": "mine"}


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
