"""`unmingle separate`: recordings in, one track per speaker out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from unmingle.cli.console import emit, emit_json, example, fail, misuse, note, progress, warn
from unmingle.inference.report import MOST_SPEAKERS, SeparationOptions, TrackFormat, facts

if TYPE_CHECKING:
    from unmingle.inference.inputs import Job
    from unmingle.inference.jobs import Outcome, Settings
    from unmingle.panel.jobs import Looking

EXAMPLE = example(
    "unmingle separate meeting.m4a",
    'unmingle separate interviews/ "calls/*.wav" -o tracks --resume --plot',
    "unmingle separate call.wav -n auto --enroll alice=alice.wav --plot",
    "unmingle separate panel.mp4 --faces 3 --render faces",
)


def _n_src(text: str) -> int | str:
    if text == "auto":
        return text
    if not text.isdecimal() or not 1 <= int(text) <= MOST_SPEAKERS:
        raise typer.BadParameter(f"got {text!r}; wanted auto, or a number of speakers from 1 to {MOST_SPEAKERS}")
    return int(text)


def _input(text: str) -> str:
    if not text:
        raise typer.BadParameter("got an empty name; wanted a recording, a folder or a glob (. is this folder)")
    return text


def _enrolment(text: str) -> tuple[str, str]:
    name, _, path = text.partition("=")
    if not name or not path:
        raise typer.BadParameter(f"got {text!r}; wanted a name and a recording, such as alice=alice.wav")
    return name, path


def _faces(text: str) -> str | int | Path:
    """What `--faces` says: look, do not look, so many, or those of a file."""
    if text in {"auto", "off"}:
        return text
    if text.isdecimal() and int(text) >= 1:
        return int(text)
    if text.lower().endswith(".json"):
        return Path(text)
    raise typer.BadParameter(f"got {text!r}; wanted auto, off, a number of faces such as 2, or a .json file of faces")


def separate(
    inputs: Annotated[
        list[Any],
        typer.Argument(metavar="INPUT", parser=_input, help="Recordings: files, folders, globs; sound or video."),
    ],
    out_dir: Annotated[
        Path | None, typer.Option("--output-dir", "-o", help="Folder for the results [default: beside each input].")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help="Name of a model, or path of its weights.")] = None,
    n_src: Annotated[
        Any,
        typer.Option(
            "--n-src", "-n", metavar="N|auto", parser=_n_src, help="How many people speak altogether; auto counts them."
        ),
    ] = None,
    max_speakers: Annotated[
        int, typer.Option("--max-speakers", min=1, max=MOST_SPEAKERS, help="The most people that auto finds.")
    ] = 8,
    enroll: Annotated[
        list[Any] | None,
        typer.Option(
            "--enroll", metavar="NAME=FILE", parser=_enrolment, help="A recording of one voice alone; names its track."
        ),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="Give only the track of this enrolled voice.")
    ] = None,
    format: Annotated[TrackFormat, typer.Option("--format", help="Format of the tracks.")] = "wav",  # noqa: A002
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that are already there.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Skip the recordings that are done; go on with one half done.")
    ] = False,
    plot: Annotated[bool, typer.Option("--plot", help="Also draw the recording and its tracks.")] = False,
    twice: Annotated[
        bool, typer.Option("--twice", help="Hear everything twice and average: cleaner, in twice the time.")
    ] = False,
    keep_residual: Annotated[
        bool,
        typer.Option("--keep-residual", help="Write what belongs to nobody, such as noise, as a track of its own."),
    ] = False,
    gate: Annotated[bool, typer.Option("--gate", help="Silence a track while its speaker is silent.")] = False,
    level_dbfs: Annotated[
        float | None, typer.Option("--level", help="Bring the speech of each track to this RMS level, in dBFS.")
    ] = None,
    loudness_lufs: Annotated[
        float | None, typer.Option("--loudness", metavar="LUFS", help="Bring each track to this loudness, such as -16.")
    ] = None,
    faces: Annotated[
        Any,
        typer.Option(
            "--faces",
            metavar="auto|N|off|FILE.json",
            parser=_faces,
            help="In videos: one track per face, found or from a file (unmingle faces); off: by ear alone.",
        ),
    ] = "auto",
    render: Annotated[
        Literal["faces", "side-by-side"] | None,
        typer.Option("--render", help="Also make videos: one per face with its voice, or one that marks who speaks."),
    ] = None,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="Processor threads to use.")] = None,
    device: Annotated[str, typer.Option("--device", help="Where the network runs: cpu, cuda, cuda:1 ...")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Separate recordings into one track per speaker.

    Writes NAME_spk1.wav, NAME_spk2.wav ... at the rate and the levels of the recording, and NAME.separation.json, which
    says how it was done. Where a video shows faces, tracks are theirs: NAME_face1.wav ... from left to right, and
    NAME_offscreen1.wav ... of voices that no face goes with. Tracks and report appear only when they are complete. One
    recording that fails does not stop the others; the exit code is then 1.
    """
    from unmingle.inference.inputs import plan_jobs
    from unmingle.inference.jobs import Settings, choose_model
    from unmingle.panel.jobs import Looking

    with misuse():
        options = SeparationOptions(
            twice=twice,
            keep_residual=keep_residual,
            gate=gate,
            level_dbfs=level_dbfs,
            loudness_lufs=loudness_lufs,
            n_speakers=n_src,
            max_speakers=max_speakers,
            enroll=tuple(enroll or ()),
            only=tuple(only or ()),
        )
    jobs = plan_jobs(inputs, out_dir=out_dir, format=format, enroll=options.enroll, render=render is not None)
    chosen = choose_model(model, n_src=None if n_src == "auto" else n_src, device=device, seeing=faces != "off")
    chosen = chosen if threads is None else chosen.with_threads(threads)
    settings = Settings(chosen, options, overwrite=overwrite, resume=resume, plot=plot)
    outcomes = _run(jobs, settings, Looking(faces, render), quiet=as_json)
    if as_json:
        emit_json([_describe(outcome) for outcome in outcomes])
    if any(outcome.state == "failed" for outcome in outcomes):
        raise typer.Exit(1)


def _run(jobs: Sequence[Job], settings: Settings, looking: Looking, *, quiet: bool) -> list[Outcome]:
    from unmingle.panel.jobs import attempt

    outcomes: list[Outcome] = []
    try:
        for number, job in enumerate(jobs, start=1):
            title = job.source.name if len(jobs) == 1 else f"{number}/{len(jobs)} {job.source.name}"
            with progress(title) as report:
                outcome = attempt(job, settings, looking, progress=report)
            outcomes.append(outcome)
            _print(outcome, quiet=quiet)
    except KeyboardInterrupt:
        done = len(outcomes)
        note(f"Interrupted: {done} of {len(jobs)} recordings are complete{_HOW_TO_GO_ON}.")
        raise
    if len(jobs) > 1:
        _summarise(outcomes)
    return outcomes


_HOW_TO_GO_ON = "; give the same command with --resume to go on"


def _print(outcome: Outcome, *, quiet: bool) -> None:
    if outcome.state == "failed":
        fail(str(outcome.error))
        return
    report = outcome.report or {}
    if outcome.state == "skipped":
        note(f"{outcome.job.source} is done already.")
    for sentence in report["conversions"]:
        note(f"{outcome.job.source.name}: {sentence}")
    for sentence in report["warnings"]:
        warn(f"{outcome.job.source.name}: {sentence}")
    if not quiet:
        sure = {face["name"]: face["confidence"] for face in report.get("faces", [])}
        for track in report["tracks"]:
            belongs = f", {sure[track['name']]:.0%} sure whose" if sure.get(track["name"]) is not None else ""
            emit(f"{outcome.job.out_dir / track['path']}  {', '.join(facts(track))}{belongs}")
        for name in report.get("renders", []):
            emit(str(outcome.job.out_dir / name))
        if report.get("n_speakers") is not None:
            note(f"{outcome.job.source.name}: {_count(report)}")
        if outcome.job.picture.exists():
            emit(str(outcome.job.picture))


def _count(report: dict[str, Any]) -> str:
    voices, together = report["n_speakers"], report["at_once"]
    if voices < 2:
        return "one voice, so one track" if voices else "no voice that could be counted"
    return f"{voices} voices, at most {together} at once" if together > 1 else f"{voices} voices, one at a time"


def _summarise(outcomes: Sequence[Outcome]) -> None:
    failed = [str(outcome.job.source) for outcome in outcomes if outcome.state == "failed"]
    counts = ", ".join(
        f"{count} {state}"
        for state in ("done", "skipped", "failed")
        if (count := sum(outcome.state == state for outcome in outcomes))
    )
    note(f"{len(outcomes)} recordings: {counts}" + (f" ({', '.join(failed)})" if failed else ""))


def _describe(outcome: Outcome) -> dict[str, Any]:
    """The outcome for machines: where things are, and what the sidecar says."""
    job = outcome.job
    found = {"source": str(job.source), "state": outcome.state}
    if outcome.report is None:
        return {**found, "error": outcome.error}
    tracks = [{**track, "path": str(job.out_dir / track["path"])} for track in outcome.report["tracks"]]
    picture = str(job.picture) if job.picture.exists() else None
    renders = [str(job.out_dir / name) for name in outcome.report.get("renders", [])]
    places = {"sidecar": str(job.sidecar), "picture": picture, "renders": renders}
    return {**found, **outcome.report, **places, "tracks": tracks}
