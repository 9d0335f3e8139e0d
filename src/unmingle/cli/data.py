"""`unmingle data`: manifests of corpora, simulated mixtures, and a check before training."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unmingle.cli.console import emit, emit_json, example, interruptible, misuse, note, progress

if TYPE_CHECKING:
    from unmingle.data.check import ManifestReport

EXAMPLE = example("unmingle data simulate recipe.yaml -o mixtures", "unmingle data check mixtures/manifest.jsonl")

data = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Prepare, simulate, draw, join and check data.",
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_SHOWN_PROBLEMS = 20


@data.command(epilog=example("unmingle data prepare folder recordings -o manifests"))
def prepare(
    corpus: Annotated[
        str,
        typer.Argument(
            metavar="CORPUS",
            help="folder, librispeech, libri2mix, wsj0-2mix, wham, whamr, lrs2-2mix, films, lrs2, lrs3, voxceleb2",
        ),
    ],
    root: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the corpus lies.")],
    out_dir: Annotated[
        Path, typer.Option("--output-dir", "-o", metavar="DIR", help="Where the manifests go.")
    ] = Path(),
    mixture: Annotated[
        str | None, typer.Option(help="Corpora of mixtures: folder of the mixtures, such as mix_both.")
    ] = None,
    lists: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Films: folder of published mixture lists; drawn unless given.")
    ] = None,
    crops: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Films: mouth crops that are there, CLIP.npz.")
    ] = None,
    landmarks: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Films: 68 landmarks per frame that are there, CLIP.npz.")
    ] = None,
    n_mixtures: Annotated[
        int | None, typer.Option("--n-mixtures", min=1, help="Films: mixtures per split, when they are drawn.")
    ] = None,
    n_workers: Annotated[int, typer.Option("--workers", min=1, help="Films: processes that look for faces.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace manifests that are there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write the manifests of a corpus. Nothing is downloaded.

    `folder` is any tree speaker/*.wav, `films` any of speaker/*.mp4 with one talking face each. Voices and mixtures
    stay where they are. Of films, mouth crops and sound are written, and mixtures of two; run again after a stop, and
    it goes on where it was.
    """
    from unmingle.data.corpora import FilmOptions
    from unmingle.data.corpora import prepare as prepare_corpus

    advice = f"the same command goes on; what is made lies in {out_dir}"
    with misuse(), interruptible(advice), progress("Preparing", unit="films/s") as report:
        films = FilmOptions(lists, crops, landmarks, n_mixtures, n_workers, report)
        prepared = prepare_corpus(corpus, root, out_dir, mixture=mixture, overwrite=overwrite, films=films)
    if as_json:
        emit_json([{"manifest": str(one.manifest), "lines": one.n_lines} for one in prepared])
        return
    for one in prepared:
        emit(f"{one.manifest}  {one.n_lines} lines")


@data.command(epilog=example("unmingle data simulate recipe.yaml -o mixtures seed=1 'snr_db=[0, 10]'"))
def simulate(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="YAML; the settings are those of SimulationRecipe.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings that replace the recipe's.")
    ] = None,
    out_dir: Annotated[
        Path, typer.Option("--output-dir", "-o", metavar="DIR", help="Folder for audio and manifest.")
    ] = Path("mixtures"),
    n_workers: Annotated[int, typer.Option("--workers", min=1, help="Processes; the files are the same for any.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Write mixtures, sources and their manifest. Run again after a stop, and it goes on where it was."""
    from unmingle.data.simulate import simulate as simulate_recipe
    from unmingle.simulation.recipe import load_simulation_recipe

    settings = load_simulation_recipe(recipe, overrides or [])
    advice = f"the same command goes on; what is made lies in {out_dir}"
    with interruptible(advice), progress("Simulating", unit="mixtures/s") as report:
        manifest = simulate_recipe(settings, out_dir, n_workers=n_workers, progress=report)
    if as_json:
        emit_json({"manifest": str(manifest), "mixtures": settings.n_mixtures})
    else:
        emit(f"{manifest}  {settings.n_mixtures} mixtures")


@data.command(
    "draw-faces", epilog=example("unmingle data draw-faces speech/train.jsonl -o faces --seconds-per-speaker 60")
)
def draw_faces(
    speech: Annotated[Path, typer.Argument(metavar="SPEECH", help="Folder speaker/*.wav, or a speech manifest.")],
    out_dir: Annotated[
        Path, typer.Option("--output-dir", "-o", metavar="DIR", help="Folder for mouth crops and manifest.")
    ] = Path("faces"),
    seed: Annotated[int, typer.Option(min=0, help="Of looks and movements.")] = 0,
    seconds: Annotated[
        float | None, typer.Option("--seconds-per-speaker", min=0, help="Leave out a speaker's voices beyond it.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude-corpus", metavar="NAME", help="Leave out rows of this corpus.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a manifest that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Draw a talking mouth for every voice of a speech manifest.

    Audio-visual networks can then be trained and tested without films of people. The lips follow level and brightness
    of the voice. Takes 230 kB of disk per second. Run again after a stop, and it goes on where it was.
    """
    from unmingle.data.draw_faces import draw_faces as draw

    advice = f"the same command goes on; what is drawn lies in {out_dir}"
    with interruptible(advice), progress("Drawing", unit="voices/s") as report:
        manifest, lines = draw(
            speech,
            out_dir,
            seed=seed,
            seconds_per_speaker=seconds,
            exclude_corpora=exclude or (),
            overwrite=overwrite,
            progress=report,
        )
    _emit_manifest(manifest, lines, as_json)


@data.command(epilog=example("unmingle data join faces/faces.jsonl films/voices.jsonl -o speech.jsonl"))
def join(
    manifests: Annotated[list[Path], typer.Argument(metavar="MANIFEST...", help="Speech manifests.")],
    target: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The manifest of all of them.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a manifest that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make one speech manifest of several."""
    from unmingle.data.voices import join_voices

    _emit_manifest(target, join_voices(manifests, target, overwrite=overwrite), as_json)


def _emit_manifest(manifest: Path, lines: int, as_json: bool) -> None:
    emit_json({"manifest": str(manifest), "lines": lines}) if as_json else emit(f"{manifest}  {lines} lines")


@data.command(
    epilog=example("unmingle data check mixtures/manifest.jsonl", "unmingle data check tt --sample-rate 8000")
)
def check(
    manifest: Annotated[
        Path, typer.Argument(metavar="MANIFEST", help="Manifest, Lhotse cuts, or folder of the papers' index lists.")
    ],
    sample_rate: Annotated[
        int | None, typer.Option(help="For index lists, which do not say; otherwise the first file is asked.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look for what training or scoring would trip over.

    Opens every file of a manifest and compares the mixtures with the sum of their parts. Exit code 1 on errors.
    """
    from unmingle.data.check import check_manifest

    with progress("Checking", unit="mixtures/s") as report:
        found = check_manifest(manifest, sample_rate=sample_rate, progress=report)
    if as_json:
        emit_json({**asdict(found), "ok": not found.errors})
    else:
        emit(_in_words(found))
        for problem in found.problems[:_SHOWN_PROBLEMS]:
            note(f"{problem.severity}: {problem.id}: {problem.message}")
        if len(found.problems) > _SHOWN_PROBLEMS:
            note(f"... and {len(found.problems) - _SHOWN_PROBLEMS} more; --json lists all")
    if found.errors:
        raise typer.Exit(1)


def _in_words(report: ManifestReport) -> str:
    lines = [
        ("mixtures", f"{report.n_mixtures}"),
        ("audio", f"{report.seconds / 3600:.2f} h"),
        ("sample rate", ", ".join(f"{rate} Hz" for rate in report.sample_rates)),
        ("speakers each", ", ".join(str(n_src) for n_src in report.n_src)),
        ("speakers in all", "not stated" if report.n_speakers is None else f"{report.n_speakers}"),
        ("pairs", ", ".join(f"{pair} {count}" for pair, count in report.pairs.items()) or "not stated"),
        ("parts add up", f"{report.n_explained} of {report.n_mixtures}"),
        ("errors", f"{len(report.errors)}"),
        ("warnings", f"{len(report.problems) - len(report.errors)}"),
    ]
    return "\n".join(f"{name:<17}{value}" for name, value in lines)
