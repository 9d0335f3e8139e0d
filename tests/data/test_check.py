"""What is found in a manifest before training trips over it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from unmingle.data.check import ManifestReport, check_manifest
from unmingle.data.corpora import prepare
from unmingle.data.crops import write_crops
from unmingle.data.dataset import ManifestDataset
from unmingle.data.index import read_index
from unmingle.data.manifest import read_manifest, write_manifest
from unmingle.errors import ShapeError

Mixtures = Callable[..., Path]


def checked(
    split: Path, *, corpus: str = "lrs2-2mix", break_it: Callable[[Path], object] | None = None
) -> ManifestReport:
    (prepared,) = prepare(corpus, split, split.parent)
    if break_it:
        break_it(split)
    return check_manifest(prepared.manifest)


def test_good_mixtures_pass(mixtures: Mixtures) -> None:
    report = checked(mixtures())
    assert report.problems == ()
    assert (report.n_mixtures, report.seconds, report.n_explained) == (2, 2.0, 2)
    assert (report.sample_rates, report.n_src, report.n_speakers) == ({8000: 2}, {2: 2}, None)


def test_noise_that_is_listed_explains_the_mixture(mixtures: Mixtures) -> None:
    report = checked(mixtures(noisy=True, mixture="mix_both"), corpus="wham")
    assert (report.problems, report.n_explained) == ((), 2)


def test_noise_that_is_not_listed_is_a_warning(mixtures: Mixtures) -> None:
    report = checked(mixtures(noisy=True))
    assert report.errors == []
    assert report.n_explained == 0
    assert all("dB of the mixture unexplained" in problem.message for problem in report.problems)


def write(part: str, samples: np.ndarray, rate: int = 8000) -> Callable[[Path], None]:
    return lambda split: soundfile.write(split / part / "a_b.wav", samples, rate, subtype="FLOAT")


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda split: (split / "s2" / "a_b.wav").unlink(), "source 2: .*a_b.wav"),
        (lambda split: (split / "mix" / "a_b.wav").write_text("text"), "mixture: .*a_b.wav"),
        (write("s1", np.zeros(8000), 16_000), "source 1: .* is at 16000 Hz, wanted 8000 Hz"),
        (write("s1", np.zeros((8000, 2))), "has 2 channels"),
        (write("s2", np.zeros(7999)), "source 2 has 7999 samples, the mixture has 8000"),
        (write("mix", np.full(8000, np.nan)), "NaN or infinite"),
    ],
)
def test_what_makes_a_mixture_unusable_is_an_error(
    mixtures: Mixtures, break_it: Callable[[Path], object], message: str
) -> None:
    report = checked(mixtures(), break_it=break_it)
    (error,) = report.errors
    assert error.id == "a_b"
    assert re.search(message, error.message)


def test_a_list_that_states_another_length_is_an_error(mixtures: Mixtures) -> None:
    split = mixtures()
    for name in ("mix", "s1", "s2"):
        (split / f"{name}.json").write_text(json.dumps([[str(split / name / "a_b.wav"), 9000]]))
    (error,) = check_manifest(split / "mix.json").errors
    assert error.message == "mixture: has 8000 samples, but its list says 9000"
    with pytest.raises(ShapeError, match="has 8000 samples, but its list says more"):
        ManifestDataset(read_index(split / "mix.json"), sample_rate=8000, segment=8500)[0]


def test_a_silent_source_is_a_warning(mixtures: Mixtures) -> None:
    report = checked(mixtures(), break_it=write("s1", np.zeros(8000)))
    assert report.errors == []
    assert any("source 1 is silent" in problem.message for problem in report.problems)


@pytest.fixture
def seen(mixtures: Mixtures) -> tuple[Path, Path]:
    """A manifest of mixtures of 1 s with good mouth crops, and the folder of the crops."""
    split = mixtures()
    (prepared,) = prepare("lrs2-2mix", split, split.parent)
    entries = read_manifest(prepared.manifest)
    faces = split.parent / "faces"
    shown = [replace(entry, video=(faces / f"{entry.id}1.npy", faces / f"{entry.id}2.npz")) for entry in entries]
    for entry in shown:
        for path in entry.video:
            write_crops(path, np.zeros((25, 96, 96), np.uint8))
    write_manifest(prepared.manifest, shown)
    return prepared.manifest, faces


def test_mouth_crops_that_fit_pass(seen: tuple[Path, Path]) -> None:
    assert check_manifest(seen[0]).problems == ()


@pytest.mark.parametrize(
    ("crops", "message"),
    [
        (None, "video 1: there are no mouth crops .*a_b1.npy"),
        (np.zeros((23, 96, 96), np.uint8), r"video 1: .* has 23 frames \(0.92 s\) but its sound lasts 1.00 s"),
        (np.zeros((25, 88, 88), np.uint8), "video 1: .* has crops of 88 x 88 pixels, wanted 96 x 96"),
        (np.zeros((25, 96, 96), np.float32), "video 1: .* holds float32"),
    ],
)
def test_mouth_crops_that_do_not_fit_are_errors(
    seen: tuple[Path, Path], crops: np.ndarray | None, message: str
) -> None:
    path = seen[1] / "a_b1.npy"
    path.unlink()
    if crops is not None:
        np.save(path, crops)
    (problem,) = check_manifest(seen[0]).errors
    assert problem.id == "a_b"
    assert re.search(message, problem.message)


def test_mouth_crops_that_go_on_are_a_warning(seen: tuple[Path, Path]) -> None:
    write_crops(seen[1] / "a_b1.npy", np.zeros((50, 96, 96), np.uint8))
    report = check_manifest(seen[0])
    assert report.errors == []
    assert re.search("video 1: .* lasts 2.00 s, its sound 1.00 s", report.problems[0].message)
