from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from unmingle.data.crops import write_crops
from unmingle.errors import ConfigError, ManifestError, MissingFileError, SampleRateError, ShapeError
from unmingle.evaluation.estimators import (
    FaceEstimator,
    FileEstimator,
    NetworkEstimator,
    PipelineEstimator,
    fingerprint,
)
from unmingle.evaluation.evaluate import score_utterance
from unmingle.evaluation.utterance import read_utterance
from unmingle.inference.handle import Model
from unmingle.inference.report import SeparationOptions
from unmingle.models import build_model
from unmingle.presets import TDANetConfig
from unmingle.presets.iianet import IIANetConfig, LipReadingConfig


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


def test_the_pipeline_separates_as_it_is_told(entries):
    model = Model.from_network(tiny(sample_rate=16_000), name="tiny")
    twice = PipelineEstimator(model, SeparationOptions(twice=True))
    utterance = read_utterance(entries[0], {})
    assert not torch.equal(twice(utterance), PipelineEstimator(model)(utterance))
    assert twice.describe()["options"]["twice"]


def test_a_model_with_an_engine_of_its_own_is_known_by_its_file(tmp_path):
    path = tmp_path / "tiny.onnx"
    path.write_bytes(b"graph")
    model = Model("tiny", tiny().config, path=path, engine=lambda mixture: mixture[:, None])
    said = PipelineEstimator(model).describe()["weights_sha256"]
    path.write_bytes(b"other")
    assert PipelineEstimator(model).describe()["weights_sha256"] != said


@pytest.mark.parametrize(
    "names", [("m0_spk1.wav", "m0_spk2.wav"), ("s1/m0.wav", "s2/m0.wav"), ("m0_spk1.flac", "m0_spk2.wav")]
)
def test_estimates_are_found_on_disk(tmp_path, entries, utterance, names):
    samples = np.stack([np.full(4_000, 0.25, np.float32), np.full(4_000, -0.5, np.float32)])
    write_estimates(tmp_path / "out", names, samples)
    files = FileEstimator(tmp_path / "out")
    said = files.describe()
    files.check(entries[0])
    np.testing.assert_allclose(files(utterance).numpy(), samples, atol=1e-4)
    write_estimates(tmp_path / "out", names, 0.5 * samples)
    assert files.describe() != said


def test_a_missing_estimate_is_named_before_anything_is_scored(tmp_path, entries, utterance):
    write_estimates(tmp_path / "out", ["m0_spk1.wav"], utterance.sources.numpy()[:1])
    with pytest.raises(MissingFileError, match=r"no estimate 2 of mixture 'm0'.*m0_spk2\.wav"):
        FileEstimator(tmp_path / "out").check(entries[0])
    with pytest.raises(MissingFileError, match="no folder"):
        FileEstimator(tmp_path / "elsewhere")


def test_estimates_of_another_rate_or_length_are_refused(tmp_path, utterance):
    names = ["m0_spk1.wav", "m0_spk2.wav"]
    write_estimates(tmp_path / "slow", names, utterance.sources.numpy(), sample_rate=16_000)
    with pytest.raises(SampleRateError, match="is at 16000 Hz, wanted 8000 Hz"):
        FileEstimator(tmp_path / "slow")(utterance)
    write_estimates(tmp_path / "short", names, utterance.sources.numpy()[:, :-1])
    with pytest.raises(ShapeError, match="3999 samples but its mixture has 4000"):
        FileEstimator(tmp_path / "short")(utterance)
    write_estimates(tmp_path / "stereo", names, [utterance.sources.numpy().T] * 2)
    with pytest.raises(ShapeError, match="2 channels"):
        FileEstimator(tmp_path / "stereo")(utterance)


LIPS = LipReadingConfig(stem=2, widths=(3, 4), blocks=(1, 1), crop=12)
SEEING = IIANetConfig(
    sample_rate=8_000,
    window_ms=2.0,
    channels=8,
    hidden=12,
    visual_channels=4,
    video_channels=4,
    depth=2,
    n_iterations=2,
    lips=LIPS,
)


@pytest.fixture
def seen(entries, tmp_path):
    """The first entry with two faces, one bright and one dark."""
    n_frames = round(25 * soundfile.info(entries[0].mixture).duration)
    paths = tuple(tmp_path / f"{level}.npy" for level in (40, 200))
    for path in paths:
        write_crops(path, np.full((n_frames, 14, 14), int(path.stem), np.uint8))
    return replace(entries[0], video=paths)


def test_a_network_that_sees_gives_each_face_its_voice(seen):
    torch.manual_seed(0)
    network = build_model(SEEING)
    estimator = FaceEstimator(network, name="seeing")
    estimator.check(seen)
    utterance = read_utterance(seen, {})
    estimates = estimator(utterance)
    assert estimates.shape == utterance.sources.shape
    turned = estimator(read_utterance(replace(seen, video=seen.video[::-1]), {}))
    torch.testing.assert_close(turned, estimates.flip(0))
    assert not torch.equal(estimates[0], estimates[1])
    assert "nothing is permuted" in estimator.describe()["order"]


def test_a_network_that_sees_wants_faces_and_lips(entries):
    with pytest.raises(ManifestError, match="has no `video`"):
        FaceEstimator(build_model(SEEING), name="seeing").check(entries[0])
    with pytest.raises(ConfigError, match="reads no lips"):
        FaceEstimator(build_model(replace(SEEING, lips=None)), name="blind")


def test_estimates_in_order_are_not_permuted(entries):
    utterance = read_utterance(entries[0], {})
    estimates = utterance.sources.flip(0) + 0.1 * utterance.mixture
    free = score_utterance(utterance, estimates, ["si_snr"])
    fixed = score_utterance(utterance, estimates, ["si_snr"], in_order=True)
    assert free.order == (2, 1)
    assert fixed.order == (1, 2)
    assert max(fixed.scores["si_snr"].estimates) < min(free.scores["si_snr"].estimates)
