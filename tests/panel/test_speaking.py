"""Who speaks when, by what is heard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile as sf

from unmingle.inference.report import Track
from unmingle.panel.speaking import turns, who_speaks

RATE = 8000


def test_turns_are_where_a_voice_stands_out(tmp_path: Path) -> None:
    noise = 0.1 * np.random.default_rng(0).normal(size=(2, 10 * RATE))
    talks = np.zeros((2, 10 * RATE), bool)
    talks[0, 1 * RATE : 4 * RATE] = talks[1, 3 * RATE : 6 * RATE] = True
    voices = noise * talks
    tracks = voices + 0.2 * voices[::-1]  # tracks leak into each other
    paths = [tmp_path / "face1.wav", tmp_path / "face2.wav"]
    for path, samples in zip(paths, tracks, strict=True):
        sf.write(path, samples, RATE)
    speaking = who_speaks(paths, n_ticks=250)
    assert speaking.shape == (2, 250)
    wanted = talks.reshape(2, 250, -1).all(axis=2)
    assert (speaking == wanted).mean() > 0.95
    found = turns([Track(path.stem, -20.0, 3.0, None, path) for path in paths], n_ticks=250)
    assert [turn.track for turn in found] == ["face1", "face2"]
    np.testing.assert_allclose([(turn.start, turn.end) for turn in found], [(1.0, 4.0), (3.0, 6.0)], atol=0.2)
