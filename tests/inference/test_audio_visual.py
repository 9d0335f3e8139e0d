"""A network that wants to see is refused wherever sound alone goes in."""

import numpy as np
import pytest
import soundfile as sf

import unmingle
from unmingle.checkpoint import save_checkpoint
from unmingle.errors import ConfigError
from unmingle.evaluation.estimators import NetworkEstimator, PipelineEstimator
from unmingle.inference.handle import Model, load_model
from unmingle.inference.jobs import choose_model
from unmingle.inference.offline import separate_to_files
from unmingle.models import build_model
from unmingle.presets import IIANetConfig

TINY = IIANetConfig(channels=4, hidden=4, visual_channels=4, video_channels=4, depth=2, n_iterations=1, lips=None)
REFUSAL = r"seeing gives the voice of a face.*wants a video.*sound alone"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "seeing.safetensors"
    save_checkpoint(path, build_model(TINY), name="seeing")
    return path


@pytest.fixture
def recording(tmp_path):
    sf.write(tmp_path / "talk.wav", 0.1 * np.random.default_rng(0).standard_normal(16_000), 16_000)
    return tmp_path / "talk.wav"


def test_samples(weights):
    for model in (weights, load_model(weights), Model.from_network(build_model(TINY), name="seeing")):
        with pytest.raises(ConfigError, match=REFUSAL):
            unmingle.separate(model, np.zeros(16_000, np.float32), sample_rate=16_000)


def test_files(weights, recording):
    with pytest.raises(ConfigError, match=REFUSAL):
        unmingle.separate_file(recording, weights)
    with pytest.raises(ConfigError, match=REFUSAL):
        separate_to_files(recording, recording.parent / "tracks", weights)
    assert not (recording.parent / "tracks").exists()


def test_many_files(weights):
    with pytest.raises(ConfigError, match=REFUSAL):
        choose_model(weights)


def test_evaluation(weights):
    model = load_model(weights)
    with pytest.raises(ConfigError, match=REFUSAL):
        NetworkEstimator(model.network, name=model.name)
    with pytest.raises(ConfigError, match=REFUSAL):
        PipelineEstimator(model)
