import numpy as np
import pytest
import soundfile
import torch

from unmingle.errors import ConfigError, MissingFileError, SampleRateError, ShapeError
from unmingle.evaluation.estimators import FileEstimator, NetworkEstimator, PipelineEstimator, fingerprint
from unmingle.evaluation.utterance import read_utterance
from unmingle.inference.handle import Model
from unmingle.models import build_model
from unmingle.presets import TDANetConfig


def tiny(**other):
    torch.manual_seed(0)
    config = TDANetConfig(
        **{"sample_rate": 8_000, "window_ms": 4, "channels": 8, "hidden": 16, "depth": 3, "n_iterations": 2, **other}
    )
    return build_model(config)


@pytest.fixture
def utterance(entries):
    return read_utterance(entries[0], {})


def write_estimates(folder, names, samples, sample_rate=8_000):
    for name, one in zip(names, samples, strict=True):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, one, sample_rate, subtype="FLOAT" if path.suffix == ".wav" else None)


def test_the_network_sees_the_whole_mixture_once(utterance):
    network = tiny().train()
    seen = []
    network.register_forward_hook(lambda module, given, _: seen.append((module.training, given[0].clone())))
    estimates = NetworkEstimator(network, name="tiny")(utterance)
    assert estimates.shape == utterance.sources.shape
    assert len(seen) == 1
    assert not seen[0][0]
    assert torch.equal(seen[0][1][0], utterance.mixture)


def test_a_network_refuses_another_rate_and_another_number_of_sources(entries):
    with pytest.raises(SampleRateError, match=r"'m0' is at 8000 Hz but tiny wants 16000 Hz.*--pipeline"):
        NetworkEstimator(tiny(sample_rate=16_000), name="tiny").check(entries[0])
    with pytest.raises(ConfigError, match="2 sources but tiny separates 3"):
        NetworkEstimator(tiny(n_src=3), name="tiny").check(entries[0])


def test_the_fingerprint_tells_weights_apart():
    network = tiny()
    before = fingerprint(network)
    assert fingerprint(tiny()) == before
    next(network.parameters()).data.view(-1)[0] += 1e-3
    assert fingerprint(network) != before


def test_the_pipeline_takes_any_rate(entries):
    pipeline = PipelineEstimator(Model.from_network(tiny(sample_rate=16_000), name="tiny"))
    pipeline.check(entries[0])
    utterance = read_utterance(entries[0], {})
    assert pipeline(utterance).shape == utterance.sources.shape
    assert pipeline.describe()["estimates_from"].startswith("pipeline")


@pytest.mark.parametrize(
    "names", [("m0_spk1.wav", "m0_spk2.wav"), ("s1/m0.wav", "s2/m0.wav"), ("m0_spk1.flac", "m0_spk2.wav")]
)
def test_estimates_are_found_on_disk(tmp_path, entries, utterance, names):
    samples = np.stack([np.full(4_000, 0.25, np.float32), np.full(4_000, -0.5, np.float32)])
    write_estimates(tmp_path / "out", names, samples)
    files = FileEstimator(tmp_path / "out")
    files.check(entries[0])
    np.testing.assert_allclose(files(utterance).numpy(), samples, atol=1e-4)


def test_a_missing_estimate_is_named_before_anything_is_scored(tmp_path, entries, utterance):
    write_estimates(tmp_path / "out", ["m0_spk1.wav"], utterance.sources.numpy()[:1])
    with pytest.raises(MissingFileError, match=r"no estimate 2 of mixture 'm0'.*m0_spk2\.wav"):
        FileEstimator(tmp_path / "out").check(entries[0])
    with pytest.raises(MissingFileError, match="no folder"):
        FileEstimator(tmp_path / "elsewhere")


def test_estimates_of_another_rate_or_length_are_refused(tmp_path, utterance):
    names = ["m0_spk1.wav", "m0_spk2.wav"]
    write_estimates(tmp_path / "slow", names, utterance.sources.numpy(), sample_rate=16_000)
    with pytest.raises(SampleRateError, match="is at 16000 Hz but its mixture is at 8000 Hz"):
        FileEstimator(tmp_path / "slow")(utterance)
    write_estimates(tmp_path / "short", names, utterance.sources.numpy()[:, :-1])
    with pytest.raises(ShapeError, match="3999 samples but its mixture has 4000"):
        FileEstimator(tmp_path / "short")(utterance)
    write_estimates(tmp_path / "stereo", names, [utterance.sources.numpy().T] * 2)
    with pytest.raises(ShapeError, match="2 channels"):
        FileEstimator(tmp_path / "stereo")(utterance)
