import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from unmingle.audio.io import read_audio
from unmingle.audio.writing import AudioWriter
from unmingle.errors import ConfigError, OutputError, OutputExistsError


def noise(length=5000, peak=0.5):
    samples = np.random.default_rng(0).uniform(-peak, peak, (1, length)).astype(np.float32)
    samples[0, 10] = peak
    return samples


@pytest.mark.parametrize(("subtype", "step"), [("PCM_16", 2**-15), ("PCM_24", 2**-23), ("FLOAT", 0.0)])
def test_what_is_written_is_read_back_to_half_a_step(tmp_path, subtype, step):
    samples = noise()
    with AudioWriter(tmp_path / "a.wav", 16_000, subtype=subtype) as writer:
        writer.write(samples)
    assert sf.info(tmp_path / "a.wav").subtype == subtype
    assert np.abs(read_audio(tmp_path / "a.wav").samples - samples).max() <= 0.5 * step


def test_sixteen_bit_samples_survive_a_round_trip_exactly(tmp_path):
    values = (np.arange(-32768, 32768, 7) / 32768).astype(np.float32)[np.newaxis]
    with AudioWriter(tmp_path / "a.wav", 16_000) as writer:
        writer.write(values)
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav").samples, values)


def test_a_sample_beyond_full_scale_turns_the_file_into_float(tmp_path):
    quiet, loud = noise(), noise(peak=1.7)
    with AudioWriter(tmp_path / "a.wav", 16_000) as writer:
        writer.write(quiet)
        writer.write(loud)
        writer.write(quiet)
    assert sf.info(tmp_path / "a.wav").subtype == "FLOAT"
    np.testing.assert_allclose(
        read_audio(tmp_path / "a.wav").samples, np.concatenate([quiet, loud, quiet], axis=1), atol=2**-15
    )
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_flac_is_turned_down_instead_of_clipped(tmp_path):
    loud = noise(peak=2.0)
    with AudioWriter(tmp_path / "a.flac", 16_000, format="flac") as writer:
        writer.write(loud)
    read = read_audio(tmp_path / "a.flac").samples
    assert writer.attenuation_db == pytest.approx(6.03, abs=0.02)
    np.testing.assert_allclose(read, loud * 10 ** (-writer.attenuation_db / 20), atol=2**-15)


def test_a_gain_at_the_end_is_applied_at_full_precision(tmp_path):
    samples = noise(peak=1e-4)
    writer = AudioWriter(tmp_path / "a.wav", 16_000, rescaled=True)
    writer.write(samples)
    writer.close(gain=1000.0)
    writer.commit()
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav").samples, samples * 1000, atol=2**-15)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_in_the_middle_leaves_nothing_behind(tmp_path, error):
    with pytest.raises(error), AudioWriter(tmp_path / "a.wav", 16_000) as writer:  # noqa: PT012
        writer.write(noise())
        raise error
    assert not list(tmp_path.iterdir())


def test_the_target_appears_only_when_it_is_complete(tmp_path):
    with AudioWriter(tmp_path / "a.wav", 16_000) as writer:
        writer.write(noise())
        assert not (tmp_path / "a.wav").exists()
    assert (tmp_path / "a.wav").exists()


def test_a_file_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    done = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: done.append("sync") or fsync(descriptor))
    monkeypatch.setattr(Path, "replace", lambda path, target: done.append("name") or replace(path, target))
    with AudioWriter(tmp_path / "a.wav", 16_000) as writer:
        writer.write(noise())
    assert done == ["sync", "name"]


def test_a_file_beyond_four_gigabytes_gets_a_header_that_can_say_so(tmp_path):
    samples = noise()
    with AudioWriter(tmp_path / "a.wav", 384_000, frames=10_000_000_000) as writer:
        writer.write(samples)
    assert sf.info(tmp_path / "a.wav").format == "RF64"
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav").samples, samples, atol=2**-16)


def test_a_file_that_fits_into_four_gigabytes_is_plain_wav(tmp_path):
    six_hours = 6 * 3600 * 48_000  # too much for one WAV file in float, in which it waits for its gain
    writer = AudioWriter(tmp_path / "a.wav", 48_000, frames=six_hours, rescaled=True)
    writer.write(noise())
    writer.close(gain=0.5)
    writer.commit()
    assert sf.info(tmp_path / "a.wav").format == "WAV"


def test_nothing_is_overwritten_unasked(tmp_path):
    (tmp_path / "a.wav").write_text("precious")
    with pytest.raises(OutputExistsError, match="already there"):
        AudioWriter(tmp_path / "a.wav", 16_000)
    assert (tmp_path / "a.wav").read_text() == "precious"
    with AudioWriter(tmp_path / "a.wav", 16_000, overwrite=True) as writer:
        writer.write(noise())
    assert read_audio(tmp_path / "a.wav").samples.shape == (1, 5000)


def test_a_format_that_is_not_written_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="written as wav or flac"):
        AudioWriter(tmp_path / "a.mp3", 16_000, format="mp3")
    with pytest.raises(ConfigError, match="96001 Hz, and FLAC"):
        AudioWriter(tmp_path / "a.flac", 96_001, format="flac")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_an_error_of_ours(tmp_path):
    with pytest.raises(OutputError, match="not a folder"):
        AudioWriter(tmp_path / "none" / "a.wav", 16_000)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_full_disk_is_an_error_of_ours_and_leaves_nothing(tmp_path, suffix):
    # A limit on the size of files looks to the writer like a disk that is full.
    code = f"""
import resource, sys
import numpy as np
from unmingle.audio.writing import AudioWriter
from unmingle.errors import OutputError
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    with AudioWriter({str(tmp_path / "a")!r} + ".{suffix}", 16_000, format={suffix!r}) as writer:
        for _ in range(20):
            writer.write(np.random.default_rng(0).uniform(-1, 1, (1, 16_000)).astype("float32"))
except OutputError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "cannot be written" in done.stdout
    assert done.stderr == ""
    assert not list(tmp_path.iterdir())
