"""From a video of two drawn people who talk at once to their voices, with the real face networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unmingle.audio.io import read_audio
from unmingle.inference.inputs import Job
from unmingle.inference.jobs import Settings
from unmingle.panel.jobs import Looking, attempt

pytest.importorskip("ai_edge_litert")


def test_drawn_people_get_their_own_voices(
    make_talk: Callable[..., Any], write_video: Callable[..., Path], tmp_path: Path
) -> None:
    from unmingle.video.drawn import draw_talking_face

    order = (1, 0)
    talk = make_talk(seconds=2.4)
    openings = [3 * (talk.openings[index] - 0.02) for index in order]
    left, right = (
        draw_talking_face(opening, seed=seed, size=(160, 160), face=110)
        for seed, opening in enumerate(openings, start=2)
    )
    frames, times = np.concatenate([left, right], axis=2), [tick / 25 for tick in range(60)]
    sound = read_audio(talk.path).samples[0]
    path = write_video(tmp_path / "drawn.mp4", frames, times, sound)
    # AAC was applied twice, so the model is told what it hears now.
    sources = talk.model.engine.sources
    heard = read_audio(path).samples[0][: sources.shape[1]]
    knowing = type(talk.model.engine)(sources + (heard - sources.sum(axis=0)) / 2)
    outcome = attempt(Job(path, tmp_path / "out"), Settings(replace(talk.model, engine=knowing)), Looking())
    assert outcome.report is not None, outcome.error
    assert [track["name"] for track in outcome.report["tracks"]] == ["face1", "face2"]
    for number, index in enumerate(order, start=1):
        voice = read_audio(tmp_path / "out" / f"drawn_face{number}.wav").samples[0][: sources.shape[1]]
        assert np.corrcoef(voice, sources[index])[0, 1] > 0.9
    assert all(face["confidence"] > 0.6 for face in outcome.report["faces"])
