"""`unmingle data`: from a folder of voices to a checked manifest."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

Cli = Callable[..., Any]


@pytest.fixture
def voices(tmp_path: Path) -> Path:
    for number, speaker in enumerate(("anna", "berta", "carl")):
        (tmp_path / "voices" / speaker).mkdir(parents=True)
        tone = 0.3 * np.sin(np.arange(8000) * (0.1 + 0.05 * number))
        soundfile.write(tmp_path / "voices" / speaker / "a.wav", tone, 8000)
    return tmp_path / "voices"


@pytest.fixture
def recipe(voices: Path, tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(f"speech: {voices}\nn_mixtures: 3\nseconds: 0.5\nsample_rate: 8000\n")
    return path


def test_a_folder_is_prepared_simulated_and_checked(cli: Cli, voices: Path, recipe: Path, tmp_path: Path) -> None:
    ran = cli("data", "prepare", "folder", voices, "-o", tmp_path / "manifests", "--json")
    assert (ran.code, json.loads(ran.out)[0]["lines"]) == (0, 3)
    speech = json.loads(ran.out)[0]["manifest"]
    ran = cli("data", "simulate", recipe, f"speech={speech}", "n_mixtures=2", "-o", tmp_path / "out", "--json")
    assert (ran.code, json.loads(ran.out)["mixtures"], ran.err) == (0, 2, "")
    ran = cli("data", "check", json.loads(ran.out)["manifest"], "--json")
    report = json.loads(ran.out)
    assert (ran.code, report["ok"], report["n_mixtures"], report["n_explained"]) == (0, True, 2, 2)


def test_results_are_plain_lines(cli: Cli, recipe: Path, tmp_path: Path) -> None:
    ran = cli("data", "simulate", recipe, "-o", tmp_path / "out")
    assert ran.out == f"{tmp_path / 'out' / 'manifest.jsonl'}  3 mixtures\n"
    ran = cli("data", "check", tmp_path / "out" / "manifest.jsonl")
    assert "parts add up     3 of 3" in ran.out
    ran = cli("data", "prepare", "folder", tmp_path / "voices", "-o", tmp_path)
    assert ran.out == f"{tmp_path / 'speech.jsonl'}  3 lines\n"


def test_a_manifest_with_errors_exits_with_one(cli: Cli, recipe: Path, tmp_path: Path) -> None:
    cli("data", "simulate", recipe, "-o", tmp_path / "out")
    (tmp_path / "out" / "s1" / "000001.wav").unlink()
    ran = cli("data", "check", tmp_path / "out" / "manifest.jsonl")
    assert ran.code == 1
    assert "errors           1" in ran.out
    assert "error: 000001: source 1:" in ran.err
    ran = cli("data", "check", tmp_path / "out" / "manifest.jsonl", "--json")
    assert (ran.code, json.loads(ran.out)["ok"]) == (1, False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("simulate", "nothing.yaml"), "nothing.yaml"),
        (("check", "nothing.jsonl"), "there is no manifest nothing.jsonl"),
    ],
)
def test_mistakes_are_one_message(cli: Cli, arguments: tuple[str, ...], message: str) -> None:
    ran = cli("data", *arguments)
    assert (ran.code, ran.out) == (1, "")
    assert message in ran.err
    assert ran.err.count("\n") == 1


def test_a_corpus_that_nobody_knows_is_misuse(cli: Cli) -> None:
    ran = cli("data", "prepare", "foldr", ".")
    assert (ran.code, ran.out) == (2, "")
    assert "did you mean 'folder'" in ran.err


def test_a_wrong_override_names_the_near_one(cli: Cli, recipe: Path, tmp_path: Path) -> None:
    ran = cli("data", "simulate", recipe, "sede=3", "-o", tmp_path / "out")
    assert ran.code == 1
    assert "did you mean 'seed'" in ran.err
    assert not (tmp_path / "out").exists()


def test_an_interrupted_simulation_says_how_to_go_on(
    cli: Cli, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_args: object, **_more: object) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr("unmingle.data.simulate.simulate", stop)
    ran = cli("data", "simulate", recipe, "-o", tmp_path / "out")
    assert ran.code == 130
    assert "Interrupted; the same command goes on" in ran.err


def test_faces_are_drawn_and_joined(cli: Cli, voices: Path, tmp_path: Path) -> None:
    ran = cli("data", "draw-faces", voices, "-o", tmp_path / "faces", "--json")
    drawn = json.loads(ran.out)
    assert (ran.code, drawn["lines"]) == (0, 3)
    ran = cli("data", "join", drawn["manifest"], drawn["manifest"], "-o", tmp_path / "all.jsonl")
    assert ran.out == f"{tmp_path / 'all.jsonl'}  6 lines\n"


def test_a_corpus_of_films_takes_options_of_its_own(cli: Cli, voices: Path, tmp_path: Path) -> None:
    ran = cli("data", "prepare", "films", voices, "-o", tmp_path / "out", "--crops", tmp_path, "--workers", "2")
    assert (ran.code, ran.out) == (1, "")
    assert "holds no films; wanted .mp4" in ran.err
