"""From a simulation recipe to files: audio in folders, one manifest, resumable at any mixture.

    OUT/manifest.jsonl      written last
    OUT/recipe.yaml         what made it; a second run with another recipe is refused
    OUT/mixture/000000.wav  OUT/s1/  OUT/s2/  [OUT/noise/]      16 bits
    OUT/rttm/000000.rttm    who talks when, of conversations
    OUT/.done/000000.json   only while unfinished: the manifest's lines so far

Files of mixture k have the same bytes whoever writes them: one process or several, at once or in two runs.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmingle.audio.io import read_audio
from unmingle.audio.resample import resample
from unmingle.config import plain_values, to_yaml
from unmingle.data import speech
from unmingle.data.files import write_text_atomically, write_wav16
from unmingle.data.manifest import Entry, entry_to_row
from unmingle.errors import ConfigError, OutputExistsError
from unmingle.simulation.conversation import to_rttm
from unmingle.simulation.pool import Utterance
from unmingle.simulation.recipe import SimulationRecipe
from unmingle.simulation.rooms import from_direct_sound
from unmingle.simulation.simulator import SimulatedMixture, Simulator

log = logging.getLogger(__name__)

MANIFEST = "manifest.jsonl"
RECIPE = "recipe.yaml"
_DONE = ".done"
_SHARE = 4  # mixtures that a process makes at a time: more than it takes to hand them over, less than a user waits for
_START = "spawn"  # not forked: the parent may hold threads of torch by now


def simulate(
    recipe: SimulationRecipe,
    out_dir: Path | str,
    *,
    n_workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the mixtures of a recipe and their manifest. A run that was stopped goes on where it was.

    Args:
        recipe: what to make.
        out_dir: folder for audio and manifest; made when it is not there.
        n_workers: processes; the files are the same for any number.
        progress: called with (mixtures done, mixtures in all).

    Returns:
        the manifest.

    Raises:
        OutputExistsError: the folder holds something else, or mixtures of another recipe.
        ConfigError, ManifestError, AudioReadError: the speech, noise or rooms cannot be used.
        OutputError: a file cannot be written.
    """
    out_dir = Path(out_dir)
    manifest = out_dir / MANIFEST
    _claim(recipe, out_dir)
    if manifest.is_file():
        return manifest
    todo = [number for number in range(recipe.n_mixtures) if not _done_file(out_dir, number).is_file()]
    done = recipe.n_mixtures - len(todo)
    try:
        for made in _run(recipe, out_dir, todo, n_workers):
            done += made
            if progress:
                progress(done, recipe.n_mixtures)
    except BaseException:
        _release(out_dir)
        raise
    try:
        lines = [_done_file(out_dir, number).read_text(encoding="utf-8") for number in range(recipe.n_mixtures)]
        write_text_atomically(manifest, "".join(lines))
    except FileNotFoundError:
        if not manifest.is_file():  # else another run of the same recipe was done first
            raise
    shutil.rmtree(out_dir / _DONE, ignore_errors=True)
    return manifest


def _claim(recipe: SimulationRecipe, out_dir: Path) -> None:
    """Make sure that whatever the folder holds was made by this recipe."""
    values = plain_values(recipe)
    if recipe.conversation is None:
        del values["conversation"]
    text = to_yaml(values)
    known = out_dir / RECIPE
    if known.is_file():
        if known.read_text(encoding="utf-8") != text:
            raise OutputExistsError(f"{out_dir} holds mixtures of another recipe ({known}); choose another folder")
    elif out_dir.exists() and (not out_dir.is_dir() or any(out_dir.iterdir())):
        raise OutputExistsError(f"{out_dir} is not empty and was not made by `data simulate`; choose another folder")
    else:
        write_text_atomically(known, text)


def _release(out_dir: Path) -> None:
    """Let go of a folder in which nothing was made yet, so that a mended recipe can have it."""
    if [path.name for path in out_dir.iterdir()] == [RECIPE]:
        (out_dir / RECIPE).unlink()
        out_dir.rmdir()


def _done_file(out_dir: Path, number: int) -> Path:
    return out_dir / _DONE / f"{number:06d}.json"


def _run(recipe: SimulationRecipe, out_dir: Path, todo: Sequence[int], n_workers: int) -> Iterable[int]:
    """Make the mixtures; yields how many were finished at each step."""
    if not todo:
        return
    studio = Studio.open(recipe)  # here even when others do the work: its errors are lost in a process that starts
    if n_workers <= 1:
        for number in todo:
            studio.write(out_dir, number)
            yield 1
        return
    shares = [todo[start : start + _SHARE] for start in range(0, len(todo), _SHARE)]
    with ProcessPoolExecutor(n_workers, get_context(_START), _open_studio, (recipe,)) as pool:
        try:
            yield from pool.map(partial(_write_share, out_dir), shares)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # what is begun is finished, the rest is left
            raise


_studio: Studio | None = None  # of a worker process


def _open_studio(recipe: SimulationRecipe) -> None:
    global _studio
    _studio = Studio.open(recipe)


def _write_share(out_dir: Path, numbers: Sequence[int]) -> int:
    assert _studio is not None
    for number in numbers:
        _studio.write(out_dir, number)
    return len(numbers)


@dataclass(frozen=True)
class Studio:
    """A recipe with its speech and noise at hand."""

    recipe: SimulationRecipe
    simulator: Simulator

    @classmethod
    def open(cls, recipe: SimulationRecipe) -> Studio:
        """List the speech, noise and impulse responses that a recipe names."""
        rate = recipe.sample_rate
        cuts = {cut.id: cut for cut in speech.read_cuts(recipe.speech, exclude_corpora=recipe.exclude_corpora)}
        utterances = [
            Utterance(id=cut.id, speaker=name, gender=gender, n_samples=speech.samples_at(cut, rate))
            for cut, (name, gender) in zip(cuts.values(), speech.genders_and_speakers(cuts.values()), strict=True)
        ]
        noises = speech.read_cuts(recipe.noise, speakers=False) if recipe.noise else []
        simulator = Simulator(
            recipe,
            utterances,
            lambda utterance: speech.load(cuts[utterance.id], rate),
            noises=[partial(speech.load, cut, rate) for cut in sorted(noises, key=lambda cut: cut.id)],
            rirs=_read_rirs(recipe) if recipe.rirs else (),
        )
        return cls(recipe, simulator)

    def write(self, out_dir: Path, number: int) -> None:
        """Write the files of one mixture, and last the note that it is done."""
        with speech.libsndfile():
            made = self.simulator.mixture(number)
        name = f"{number:06d}.wav"
        parts = {"mixture": made.mixture, **{f"s{n}": source for n, source in enumerate(made.sources, start=1)}}
        if made.noise is not None:
            parts["noise"] = made.noise
        for folder, samples in parts.items():
            write_wav16(out_dir / folder / name, samples, self.recipe.sample_rate)
        if made.turns:
            names = [utterance.speaker for utterance in made.utterances]
            text = to_rttm(made.turns, name=f"{number:06d}", talkers=names, sample_rate=self.recipe.sample_rate)
            write_text_atomically(out_dir / "rttm" / f"{number:06d}.rttm", text)
        entry = self._entry(out_dir.resolve(), number, made)
        line = json.dumps(entry_to_row(entry, out_dir.resolve()), ensure_ascii=False) + "\n"
        write_text_atomically(_done_file(out_dir, number), line)

    def _entry(self, out_dir: Path, number: int, made: SimulatedMixture) -> Entry:
        name = f"{number:06d}.wav"
        return Entry(
            id=f"{number:06d}",
            sample_rate=self.recipe.sample_rate,
            mixture=out_dir / "mixture" / name,
            sources=tuple(out_dir / f"s{n}" / name for n in range(1, len(made.sources) + 1)),
            noise=None if made.noise is None else out_dir / "noise" / name,
            speakers=tuple(utterance.speaker for utterance in made.utterances),
            extra=_facts(self.recipe, number, made),
        )


def _facts(recipe: SimulationRecipe, number: int, made: SimulatedMixture) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "utterances": [utterance.id for utterance in made.utterances],
        "level_db": [round(level, 3) for level in made.level_db],
        "snr_db": None if made.snr_db is None else round(made.snr_db, 3),
        "pair": pair_type([utterance.gender for utterance in made.utterances]),
    }
    if made.turns:
        facts["rttm"] = f"rttm/{number:06d}.rttm"
        del facts["utterances"]
    if made.in_room:
        facts["room"] = "measured" if recipe.rirs else "simulated"
        facts["targets"] = recipe.targets
    return {key: value for key, value in facts.items() if value is not None}


def pair_type(genders: Sequence[str | None]) -> str | None:
    """Genders as one word, M before F: "MM", "MF" or "FF" for two speakers; None when one is not known."""
    if any(gender is None for gender in genders):
        return None
    return "".join(sorted((str(gender) for gender in genders), reverse=True))


def _read_rirs(recipe: SimulationRecipe) -> list[NDArray[np.float32]]:
    """Measured impulse responses, first channel, at the recipe's rate, from the direct sound on."""
    files = speech.list_speech(str(recipe.rirs), speakers=False)
    responses: list[NDArray[np.float32]] = []
    for file in sorted(files, key=lambda file: file.path.name):
        audio = read_audio(file.path)
        first = resample(audio.samples[:1], from_rate=audio.sample_rate, to_rate=recipe.sample_rate)[0]
        if not np.abs(first).max(initial=0) > 0:
            raise ConfigError(f"the impulse response {file.path} is silent")
        responses.append(from_direct_sound(first))
    return responses
