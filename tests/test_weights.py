"""The bundled weights separate what their cards promise."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import unmingle
from unmingle.audio.io import read_audio
from unmingle.checkpoint import read_card
from unmingle.inference.handle import WEIGHTS

EXAMPLES = Path(__file__).parent.parent / "examples"
BUNDLED = sorted(WEIGHTS.glob("*.safetensors"))
OF_VOICES = {2: "two-voices", 3: "three-voices"}
SLACK_DB = 0.5


@pytest.fixture(scope="module")
def demo():
    spec = importlib.util.spec_from_file_location("demo", EXAMPLES / "demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_some_weights_are_bundled():
    assert BUNDLED


@pytest.mark.parametrize("weights", BUNDLED, ids=lambda path: path.stem)
def test_the_example_of_as_many_voices_improves_by_what_the_card_promises(weights, demo):
    promised = read_card(weights).scores["demo_si_snr_improvement_db"]
    model = unmingle.load_model(weights)
    folder = EXAMPLES / OF_VOICES[model.n_src]
    references = sorted(EXAMPLES.glob("*-voices/reference_*.flac"), key=lambda path: path.name)[: model.n_src]
    sources = np.concatenate([read_audio(path).samples for path in references])
    result = unmingle.separate_file(folder / "mixture.flac", model)
    gained = demo.improvement_db(result.estimates, sources, read_audio(folder / "mixture.flac").samples)
    assert gained >= promised - SLACK_DB
    assert gained > SLACK_DB


@pytest.mark.parametrize("weights", BUNDLED, ids=lambda path: path.stem)
def test_weights_say_where_they_come_from(weights):
    card = read_card(weights)
    assert card.name == weights.stem
    assert card.licence
    assert card.training_data
    assert (Path(__file__).parent.parent / card.recipe).is_file()
    assert weights.with_suffix(".md").is_file()
    assert weights.stat().st_size < 25_000_000
