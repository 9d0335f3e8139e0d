import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from unmingle.audio.resample import resample
from unmingle.errors import (
    AudioReadError,
    ConfigError,
    MissingFileError,
    OutputError,
    OutputExistsError,
    SampleRateError,
    SignalError,
    UnmingleError,
)
from unmingle.inference.handle import load_model
from unmingle.inference.offline import separate_file, separate_to_files
from unmingle.inference.report import SeparationOptions

RATE = 8000


@pytest.fixture
def sources(voices):
    """(2, 24 s): the second voice begins after 4 s."""
    sources = voices[:2, : 24 * RATE].copy()
    sources[1, : 4 * RATE] = 0.0
    return sources


@pytest.fixture
def recording(tmp_path, sources):
    path = tmp_path / "zwei Stimmen 会話.wav"
    sf.write(path, sources.sum(axis=0), RATE, subtype="PCM_24")
    return path


def match(estimates, sources):
    """Estimates in the order of the sources."""
    order = np.argmax(sources @ estimates[: len(sources)].T, axis=1)
    assert sorted(order) == list(range(len(sources)))
    return estimates[order]


def test_a_file_becomes_one_track_per_speaker(recording, oracle, sources):
    separation = separate_file(recording, oracle(sources, leak=0.0))
    assert separation.sample_rate == RATE
    assert separation.estimates.dtype == np.float32
    np.testing.assert_allclose(match(separation.estimates, sources), sources, atol=0.01)
    assert (separation.conversions, separation.warnings) == ([], [])
    assert [track.name for track in separation.tracks] == ["spk1", "spk2"]
    assert all(track.confidence > 0.99 for track in separation.tracks)
    assert sorted(track.active_seconds for track in separation.tracks) == pytest.approx([20, 24], abs=4)
    assert separation.report.seconds == 24.0


def test_files_and_memory_hold_the_same_tracks(recording, oracle, sources, tmp_path):
    separation = separate_file(recording, oracle(sources))
    report = separate_to_files(recording, tmp_path / "a" / "b", oracle(sources))
    assert [track.path.name for track in report.tracks] == [f"{recording.stem}_spk1.wav", f"{recording.stem}_spk2.wav"]
    for track, estimate in zip(report.tracks, separation.estimates, strict=True):
        written, rate = sf.read(track.path, dtype="float32")
        assert (rate, sf.info(track.path).subtype) == (RATE, "PCM_24")
        np.testing.assert_allclose(written, estimate, atol=2**-23)
    saved = separation.save(tmp_path / "c")
    assert [path.read_bytes() for path in saved] == [track.path.read_bytes() for track in report.tracks]


def test_the_report_is_json(recording, oracle, sources, tmp_path):
    report = separate_to_files(recording, tmp_path / "out", oracle(sources))
    values = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert values["tracks"][0]["path"] == f"{recording.stem}_spk1.wav"
    assert values["settings"]["window_seconds"] == 20.0
    assert values["model"] == "oracle"


def test_tracks_sum_to_the_recording_at_another_rate_with_its_treble(tmp_path, oracle, sources):
    heard = resample(sources, from_rate=RATE, to_rate=44_100)
    hiss = 0.003 * np.random.default_rng(0).standard_normal(heard.shape[1]).astype(np.float32)
    mixture = heard.sum(axis=0) + hiss
    sf.write(tmp_path / "a.wav", mixture, 44_100, subtype="FLOAT")
    separation = separate_file(tmp_path / "a.wav", oracle(sources, leak=0.0))
    assert separation.estimates.shape == heard.shape
    np.testing.assert_allclose(separation.estimates.sum(axis=0), mixture, atol=1e-6)
    error = match(separation.estimates, heard) - heard
    assert np.square(error).sum() < 0.02 * np.square(heard).sum()
    assert "resampled from 44100 to 8000 Hz" in separation.conversions[0]


def test_two_channels_become_one_and_the_result_says_so(tmp_path, oracle, sources):
    mixture = sources.sum(axis=0)
    sf.write(tmp_path / "a.wav", np.stack([1.2 * mixture, 0.8 * mixture], axis=1), RATE, subtype="FLOAT")
    separation = separate_file(tmp_path / "a.wav", oracle(sources))
    assert separation.conversions == ["averaged 2 channels into one"]
    np.testing.assert_allclose(separation.estimates.sum(axis=0), mixture, atol=1e-6)


def test_tracks_beyond_full_scale_are_not_clipped(tmp_path, oracle, sources):
    loud = sources * (4.0 / np.abs(sources).max())
    sf.write(tmp_path / "a.wav", np.clip(loud.sum(axis=0), -1, 1), RATE)
    model = oracle(loud)
    report = separate_to_files(tmp_path / "a.wav", tmp_path / "out", model)
    assert any("clipped" in sentence for sentence in report.warnings)
    tracks = np.stack([sf.read(track.path)[0] for track in report.tracks])
    assert np.abs(tracks).max() > 1.0
    assert any("32-bit float" in sentence for sentence in report.warnings)
    np.testing.assert_allclose(tracks.sum(axis=0), sf.read(tmp_path / "a.wav")[0], atol=2**-14)


def test_the_level_of_a_track_that_was_turned_down_is_that_of_its_file(tmp_path, oracle, sources, caplog):
    loud = sources * (4.0 / np.abs(sources).max())
    sf.write(tmp_path / "a.wav", np.clip(loud.sum(axis=0), -1, 1), RATE)
    model = oracle(loud)
    report = separate_to_files(tmp_path / "a.wav", tmp_path / "out", model, format="flac")
    assert sum("turned down by" in sentence for sentence in report.warnings) == 2
    for track in report.tracks:
        power = np.mean(sf.read(track.path)[0] ** 2)
        assert track.level_dbfs == pytest.approx(10 * np.log10(power), abs=0.02)
    assert caplog.text == ""
    separate_file(tmp_path / "a.wav", model).save(tmp_path / "saved", format="flac")
    assert caplog.text.count("would exceed full scale and was turned down by") == 2


def test_an_offset_is_removed_and_told(tmp_path, oracle, sources):
    mixture = sources.sum(axis=0)
    sf.write(tmp_path / "a.wav", mixture + 0.25, RATE, subtype="FLOAT")
    separation = separate_file(tmp_path / "a.wav", oracle(sources))
    assert "offset" in separation.conversions[0]
    np.testing.assert_allclose(separation.estimates.sum(axis=0), mixture - mixture.mean(), atol=1e-6)


def test_the_residual_can_be_a_track_of_its_own(recording, oracle, sources, tmp_path):
    report = separate_to_files(recording, tmp_path / "out", oracle(sources), SeparationOptions(keep_residual=True))
    assert [track.name for track in report.tracks] == ["spk1", "spk2", "residual"]
    assert report.tracks[2].confidence is None
    assert (tmp_path / "out" / f"{recording.stem}_residual.wav").exists()


@pytest.mark.parametrize("settings", [{}, {"keep_residual": True}, {"keep_residual": True, "gate": True}])
@pytest.mark.parametrize(("rate", "format"), [(RATE, "wav"), (44_100, "flac")])
def test_the_files_sum_to_the_recording_to_16_bits(tmp_path, oracle, sources, settings, rate, format):  # noqa: A002
    heard = resample(sources[:, : 8 * RATE], from_rate=RATE, to_rate=rate)
    hiss = 0.003 * np.random.default_rng(0).standard_normal((heard.shape[1], 2))
    sf.write(tmp_path / "a.wav", heard.sum(axis=0)[:, np.newaxis] + hiss, rate, subtype="PCM_16")
    options = SeparationOptions(**settings)
    report = separate_to_files(tmp_path / "a.wav", tmp_path / "out", oracle(sources), options, format=format)
    total = sum(sf.read(track.path)[0] for track in report.tracks)
    rounding = 2**-16 * len(report.tracks)  # half a step each
    np.testing.assert_allclose(total, sf.read(tmp_path / "a.wav")[0].mean(axis=1), atol=rounding + 1e-6)


def test_a_loudness_can_be_asked_for(recording, oracle, sources, tmp_path):
    pyloudnorm = pytest.importorskip("pyloudnorm")
    report = separate_to_files(
        recording, tmp_path / "out", oracle(sources, leak=0.0), SeparationOptions(loudness_lufs=-30.0)
    )
    meter = pyloudnorm.Meter(RATE, filter_class="DeMan")
    for track in report.tracks:
        assert meter.integrated_loudness(sf.read(track.path)[0]) == pytest.approx(-30.0, abs=0.2)
    assert report.warnings == []
    loud = separate_file(recording, oracle(sources, leak=0.0), options=SeparationOptions(loudness_lufs=-6.0))
    assert 0.8 < np.abs(loud.estimates).max() <= 10 ** (-1 / 20) + 1e-6
    assert "instead of -6: louder, it would exceed a true peak of -1 dB" in loud.warnings[0]


@pytest.mark.parametrize("format", ["wav", "flac"])
def test_a_level_can_be_asked_for(recording, oracle, sources, tmp_path, format):  # noqa: A002
    report = separate_to_files(
        recording, tmp_path / "out", oracle(sources), SeparationOptions(level_dbfs=-20.0), format=format
    )
    for track in report.tracks:
        written, _ = sf.read(track.path)
        share = track.active_seconds / report.seconds
        assert track.level_dbfs == pytest.approx(-20.0 + 10 * np.log10(share), abs=1.0)
        assert 10 * np.log10(np.mean(written**2)) == pytest.approx(track.level_dbfs, abs=0.05)


def test_progress_goes_up_to_the_end(recording, oracle, sources, tmp_path):
    seen = []
    ten = SeparationOptions(window_seconds=10.0)
    separate_to_files(recording, tmp_path / "out", oracle(sources), ten, progress=lambda *now: seen.append(now))
    assert seen == sorted(seen)
    assert len(seen) > 2
    assert seen[-1] == (24.0, 24.0)


def test_one_voice_is_called_one_voice(tmp_path, oracle, sources):
    alone = np.stack([sources[0], np.zeros_like(sources[0])])
    sf.write(tmp_path / "a.wav", alone.sum(axis=0), RATE)
    separation = separate_file(tmp_path / "a.wav", oracle(alone, leak=0.01))
    assert any("all but silent" in sentence for sentence in separation.warnings)


def test_the_sound_of_a_video_is_separated(tmp_path, tiny):
    import av

    path = tmp_path / "call.mkv"
    noise = (0.1 * np.random.default_rng(0).standard_normal((1, 24_000))).astype(np.float32)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=24_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(noise, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 24_000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    report = separate_to_files(path, tmp_path, tiny)
    assert sf.info(report.tracks[0].path).samplerate == 24_000
    assert sf.info(report.tracks[0].path).frames == report.n_samples


def write_text(path: Path) -> None:
    path.write_text("hello " * 1000)


def write(samples, rate=RATE):
    return lambda path: sf.write(path, np.asarray(samples, np.float32), rate, subtype="FLOAT")


NOISE = 0.1 * np.random.default_rng(0).standard_normal(RATE)


@pytest.mark.parametrize(
    ("prepare", "error"),
    [
        (lambda path: None, MissingFileError),
        (lambda path: path.touch(), AudioReadError),
        (lambda path: path.mkdir(), AudioReadError),
        (write_text, AudioReadError),
        (write([]), SignalError),
        (write(NOISE[:40]), SignalError),
        (write(np.zeros(RATE)), SignalError),
        (write([*NOISE, np.nan]), SignalError),
        (write([*NOISE, np.inf]), SignalError),
        (write(NOISE, rate=1), SampleRateError),
        (write(NOISE, rate=1_000_000), SampleRateError),
    ],
)
def test_bad_input_is_one_error_and_leaves_nothing(tmp_path, tiny, prepare, error):
    source = tmp_path / "in" / "a.wav"
    source.parent.mkdir()
    prepare(source)
    with pytest.raises(error) as caught:
        separate_to_files(source, tmp_path / "out", tiny)
    assert isinstance(caught.value, UnmingleError)
    assert "a.wav" in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interruption_leaves_nothing_behind(recording, oracle, sources, tmp_path, error):
    def interrupt(done: float, total: float | None) -> None:
        raise error

    with pytest.raises(error):
        separate_to_files(recording, tmp_path / "new" / "out", oracle(sources), progress=interrupt)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_track_that_cannot_get_its_name_takes_the_others_along(
    recording, oracle, sources, tmp_path, monkeypatch, overwrite
):
    out, rename = tmp_path / "out", Path.replace
    old = {f"{recording.stem}_spk{number}.wav": f"old {number}" for number in (1, 2)} if overwrite else {}
    for name, text in old.items():
        out.mkdir(exist_ok=True)
        (out / name).write_text(text)

    def fails(path, target):
        if target.name.endswith("_spk2.wav") and path.name.endswith(".tmp"):
            raise OSError(5, "the second rename fails")
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(OutputError, match="second rename"):
        separate_to_files(recording, out, oracle(sources), overwrite=overwrite)
    if overwrite:
        with pytest.raises(OutputError, match="second rename"):
            separate_file(recording, oracle(sources)).save(out, overwrite=True)
        assert {path.name: path.read_text() for path in out.iterdir()} == old
    else:
        assert not out.exists()


def test_tracks_that_are_there_are_kept(recording, oracle, sources, tmp_path):
    precious = tmp_path / f"{recording.stem}_spk2.wav"
    precious.write_text("precious")
    model = oracle(sources)
    with pytest.raises(OutputExistsError, match="spk2"):
        separate_to_files(recording, tmp_path, model)
    assert model.engine.windows == []  # before the work, not after it
    assert precious.read_text() == "precious"
    assert not (tmp_path / f"{recording.stem}_spk1.wav").exists()
    separate_to_files(recording, tmp_path, model, overwrite=True)
    assert sf.info(precious).frames == 24 * RATE


def test_an_output_folder_that_is_a_file_is_an_error(recording, tiny, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="out"):
        separate_to_files(recording, tmp_path / "out", tiny)
    assert (tmp_path / "out").read_text() == "a file"


def test_a_full_disk_leaves_nothing_behind(recording, tmp_path):
    # A limit on the size of files looks to the writers like a disk that is full.
    code = f"""
import resource
import numpy as np
from unmingle.errors import OutputError
from unmingle.inference.handle import Model
from unmingle.inference.offline import separate_to_files
from unmingle.presets import TDANetConfig
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
model = Model("halves", TDANetConfig(), engine=lambda mixture: np.stack([0.5 * mixture] * 2, axis=1))
try:
    separate_to_files({str(recording)!r}, {str(tmp_path / "out")!r}, model)
except OutputError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "disk full" in done.stdout
    assert done.stderr == ""
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "settings",
    [
        {"window_seconds": 0.5},
        {"window_seconds": 1000.0},
        {"overlap_seconds": 11.0},
        {"overlap_seconds": 0.0},
        {"level_dbfs": 3.0},
        {"loudness_lufs": 3.0},
        {"loudness_lufs": -16.0, "level_dbfs": -20.0},
        {"n_speakers": "two"},
        {"n_speakers": 2.0},
        {"n_speakers": True},
        {"enroll": {"anna": "anna.wav"}},
    ],
)
def test_options_that_cannot_work_are_refused(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        SeparationOptions(**settings)


def test_a_network_runs_on_any_rate(tiny, tmp_path):
    model = load_model(tiny)
    for rate in (4000, 11_025, 384_000):
        sf.write(tmp_path / "a.wav", 0.1 * np.random.default_rng(0).standard_normal((rate // 2, 1)), rate)
        separation = separate_file(tmp_path / "a.wav", model)
        assert separation.estimates.shape == (2, rate // 2)


@pytest.mark.slow
def test_two_hours_fit_into_little_memory(tmp_path, tiny):
    path = tmp_path / "long.flac"
    noise = 0.1 * np.random.default_rng(0).standard_normal(160_000)
    with sf.SoundFile(path, "w", 16_000, 1, subtype="PCM_16") as file:
        for _ in range(720):
            file.write(noise)
    code = f"""
import resource
from unmingle.inference.offline import separate_to_files
separate_to_files({str(path)!r}, {str(tmp_path / "out")!r}, {str(tiny)!r})
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1500
