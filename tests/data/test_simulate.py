"""Simulated corpora on disk: the same bytes whoever writes them, and never a half-written one."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from unmingle.data.check import check_manifest
from unmingle.data.manifest import read_manifest
from unmingle.data.simulate import Studio, pair_type, simulate
from unmingle.errors import MissingFileError, OutputExistsError
from unmingle.simulation.recipe import SimulationRecipe


@pytest.fixture
def recipe(speech: Path, noise: Path) -> SimulationRecipe:
    return SimulationRecipe(str(speech), 6, seconds=1.0, sample_rate=8000, noise=str(noise), noise_share=0.5, seed=3)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_corpus_is_complete_and_passes_its_check(recipe: SimulationRecipe, tmp_path: Path) -> None:
    report = check_manifest(simulate(recipe, tmp_path / "out"))
    assert (report.n_mixtures, report.seconds, report.n_explained, report.problems) == (6, 6.0, 6, ())
    assert set(report.pairs) <= {"FF", "MF", "MM"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("manifest.jsonl", "recipe.yaml", "mixture", "s1", "s2", "noise")
    }


def test_the_manifest_says_what_was_measured(recipe: SimulationRecipe, tmp_path: Path) -> None:
    entries = read_manifest(simulate(replace(recipe, noise_share=1.0), tmp_path / "out"))
    for entry in entries:
        first, second = (soundfile.read(source)[0] for source in entry.sources)
        levels = entry.extra["level_db"]
        assert 10 * np.log10((first**2).sum() / (second**2).sum()) == pytest.approx(levels[0] - levels[1], abs=0.02)
        assert entry.noise is not None
        noise, _ = soundfile.read(entry.noise)
        snr_db = 10 * np.log10(((first + second) ** 2).sum() / (noise**2).sum())
        assert snr_db == pytest.approx(entry.extra["snr_db"], abs=0.02)
        assert len(set(entry.speakers)) == 2


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("start", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_bytes_do_not_depend_on_the_number_of_processes(
    recipe: SimulationRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    if start not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {start} here")
    monkeypatch.setattr("unmingle.data.simulate._START", start)
    simulate(recipe, tmp_path / "one")
    simulate(recipe, tmp_path / "two", n_workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_an_interruption_of_several_processes_does_not_wait_for_all_mixtures(
    recipe: SimulationRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("no fork here")
    monkeypatch.setattr("unmingle.data.simulate._START", "fork")

    def stop(done: float, total: float | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(replace(recipe, n_mixtures=120), tmp_path / "out", n_workers=2, progress=stop)
    assert len(list((tmp_path / "out" / "mixture").iterdir())) < 60


@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_recipe_that_cannot_be_followed_leaves_nothing(
    recipe: SimulationRecipe, tmp_path: Path, n_workers: int
) -> None:
    with pytest.raises(MissingFileError):
        simulate(replace(recipe, noise=str(tmp_path / "nowhere")), tmp_path / "out", n_workers=n_workers)
    assert not (tmp_path / "out").exists()


def test_bytes_do_not_depend_on_interruptions(
    recipe: SimulationRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate(recipe, tmp_path / "one")
    write = Studio.write

    def stop(studio: Studio, out_dir: Path, number: int) -> None:
        if number == 3:
            raise KeyboardInterrupt
        write(studio, out_dir, number)

    monkeypatch.setattr(Studio, "write", stop)
    with pytest.raises(KeyboardInterrupt):
        simulate(recipe, tmp_path / "three")
    assert not (tmp_path / "three" / "manifest.jsonl").exists()
    made: list[int] = []
    monkeypatch.setattr(Studio, "write", lambda *args: (made.append(args[2]), write(*args)))
    simulate(recipe, tmp_path / "three")
    assert made == [3, 4, 5]
    assert contents(tmp_path / "one") == contents(tmp_path / "three")


@pytest.mark.parametrize("overtaken_after", [3, 6])
def test_two_runs_into_one_folder_both_have_the_corpus(
    recipe: SimulationRecipe, tmp_path: Path, overtaken_after: int
) -> None:
    def overtake(done: int, _total: int) -> None:
        if done == overtaken_after:
            simulate(recipe, tmp_path / "shared")

    simulate(recipe, tmp_path / "alone")
    assert simulate(recipe, tmp_path / "shared", progress=overtake).is_file()
    assert contents(tmp_path / "shared") == contents(tmp_path / "alone")


def test_a_larger_corpus_begins_with_the_smaller_one(recipe: SimulationRecipe, tmp_path: Path) -> None:
    simulate(recipe, tmp_path / "six")
    simulate(replace(recipe, n_mixtures=8), tmp_path / "eight")
    six, eight = contents(tmp_path / "six"), contents(tmp_path / "eight")
    for name in six.keys() - {"recipe.yaml", "manifest.jsonl"}:
        assert eight[name] == six[name]
    assert eight["manifest.jsonl"].startswith(six["manifest.jsonl"])


def test_moving_the_speech_does_not_change_the_mixtures(recipe: SimulationRecipe, tmp_path: Path) -> None:
    simulate(recipe, tmp_path / "before")
    (tmp_path / "elsewhere").mkdir()
    for name in ("speech", "speech.jsonl"):
        (tmp_path / name).rename(tmp_path / "elsewhere" / name)
    simulate(replace(recipe, speech=str(tmp_path / "elsewhere" / "speech.jsonl")), tmp_path / "after")
    before, after = contents(tmp_path / "before"), contents(tmp_path / "after")
    assert {name for name in before if before[name] != after[name]} <= {"recipe.yaml", "manifest.jsonl"}


def test_a_finished_corpus_is_left_alone(recipe: SimulationRecipe, tmp_path: Path) -> None:
    manifest = simulate(recipe, tmp_path / "out")
    before = manifest.stat().st_mtime_ns
    assert simulate(recipe, tmp_path / "out") == manifest
    assert manifest.stat().st_mtime_ns == before


def test_other_peoples_folders_are_left_alone(recipe: SimulationRecipe, tmp_path: Path) -> None:
    simulate(recipe, tmp_path / "out")
    with pytest.raises(OutputExistsError, match="mixtures of another recipe"):
        simulate(replace(recipe, seed=4), tmp_path / "out")
    with pytest.raises(OutputExistsError, match="not empty"):
        simulate(recipe, tmp_path)


def test_progress_is_told(recipe: SimulationRecipe, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    simulate(recipe, tmp_path / "out", progress=lambda done, total: told.append((done, total)))
    assert told == [(number, 6) for number in range(1, 7)]


def test_early_targets_are_marked_and_not_taken_for_a_mistake(recipe: SimulationRecipe, tmp_path: Path) -> None:
    echo = np.zeros(2000)
    echo[[100, 1500]] = [0.9, 0.5]
    (tmp_path / "rirs").mkdir()
    soundfile.write(tmp_path / "rirs" / "hall.wav", echo, 8000)
    echoing = replace(recipe, n_mixtures=2, room_share=1.0, rirs=str(tmp_path / "rirs"), targets="early")
    manifest = simulate(echoing, tmp_path / "out")
    first = json.loads(manifest.read_text().splitlines()[0])
    assert (first["room"], first["targets"]) == ("measured", "early")
    report = check_manifest(manifest)
    assert (report.problems, report.n_explained) == ((), 0)


def test_pairs_are_named_in_one_order() -> None:
    assert [pair_type(pair) for pair in (["F", "M"], ["M", "F"], ["F", "F"], ["M", None])] == ["MF", "MF", "FF", None]
