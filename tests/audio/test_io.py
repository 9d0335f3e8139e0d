import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from unmingle.audio.formats import choose_subtype
from unmingle.audio.io import AudioReader, count_frames, count_seconds, probe, read_audio
from unmingle.errors import AudioReadError, MissingFileError


def cut(path: Path, share: float) -> Path:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    return path


def assert_same_sound(actual: np.ndarray, wanted: np.ndarray) -> None:
    """Equal to about -15 dB away from the ends; a shift by one sample is not."""
    edge = wanted.shape[1] // 10
    error = (actual - wanted)[:, edge:-edge]
    assert np.square(error).sum() < 0.03 * np.square(wanted[:, edge:-edge]).sum()


def test_a_wav_file_beyond_what_its_header_can_count_is_read_to_its_end(tmp_path, monkeypatch):
    from unmingle.audio import integrity

    monkeypatch.setattr(integrity, "_WAV_COUNTS_TO", 1 << 16)  # in place of 4 GB
    samples = (np.arange(50_000) % 301 / 1000 - 0.15).astype(np.float32)
    path = tmp_path / "hours.wav"
    sf.write(path, samples, 16_000, subtype="PCM_16")
    written = bytearray(path.read_bytes())
    for place in (4, 40):
        (size,) = struct.unpack_from("<I", written, place)
        struct.pack_into("<I", written, place, size % (1 << 16))
    path.write_bytes(written)
    with AudioReader(path) as reader:
        read = np.concatenate(list(reader.blocks(7000)), axis=1)[0]
        assert (reader.info.subtype, reader.info.frames) == ("PCM_16", None)
        assert "longer than its header says" in reader.doubts[0]
    np.testing.assert_allclose(read, samples, atol=2**-15)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_formats_of_libsndfile_come_back(tmp_path, sweep, suffix):
    samples = sweep(2.0, 44_100)
    sf.write(tmp_path / f"a.{suffix}", samples.T, 44_100)
    audio = read_audio(tmp_path / f"a.{suffix}")
    assert audio.sample_rate == 44_100
    assert audio.samples.dtype == np.float32
    assert audio.samples.shape == samples.shape
    assert_same_sound(audio.samples, samples)


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [("a.m4a", "aac", 16_000), ("a.mp4", "aac", 44_100), ("a.mov", "aac", 48_000), ("a.webm", "libopus", 48_000)],
)
def test_padding_of_the_encoder_is_trimmed_to_the_sample(compress, sweep, name, codec, rate):
    samples = sweep(2.0, rate)
    audio = read_audio(compress(name, codec, samples, rate))
    assert audio.samples.shape == samples.shape
    assert_same_sound(audio.samples, samples)


def test_matroska_does_not_say_where_the_sound_ends_but_where_it_begins(compress, sweep):
    samples = sweep(2.0, 44_100)
    audio = read_audio(compress("a.mkv", "aac", samples, 44_100, picture=True))
    assert 0 <= audio.samples.shape[1] - samples.shape[1] < 1024  # one frame of the encoder
    assert_same_sound(audio.samples[:, : samples.shape[1]], samples)


def test_the_sound_of_a_video_is_read(compress, sweep):
    path = compress("clip.mp4", "aac", np.repeat(sweep(1.0, 48_000), 2, axis=0), 48_000, picture=True)
    info = probe(path)
    assert (info.sample_rate, info.channels, info.frames, info.subtype) == (48_000, 2, 48_000, "aac")


@pytest.mark.parametrize("name", ["a.wav", "a.m4a"])
def test_blocks_of_any_size_hold_the_same_samples(tmp_path, compress, sweep, name):
    samples = sweep(1.0, 16_000)
    path = tmp_path / name
    if name == "a.wav":
        sf.write(path, samples.T, 16_000)
    else:
        compress(name, "aac", samples, 16_000)
    whole = read_audio(path).samples
    for size in (13, 777, 100_000):
        with AudioReader(path) as reader:
            blocks = list(reader.blocks(size))
        assert max(block.shape[1] for block in blocks) <= size
        np.testing.assert_array_equal(np.concatenate(blocks, axis=1), whole)


def test_a_name_with_spaces_colons_and_unicode_is_read(compress, sweep):
    path = compress("zwei Stimmen: Gespräch 会話 %d.m4a", "aac", sweep(0.5, 16_000), 16_000)
    assert read_audio(path).samples.shape == (1, 8000)


def test_a_missing_file_is_called_missing(tmp_path):
    with pytest.raises(MissingFileError, match="there is no file"):
        probe(tmp_path / "none.wav")


def test_a_folder_is_not_a_file(tmp_path):
    with pytest.raises(AudioReadError, match="is a folder"):
        probe(tmp_path)


def test_an_empty_file_says_so(tmp_path):
    (tmp_path / "a.wav").touch()
    with pytest.raises(AudioReadError, match="0 bytes"):
        probe(tmp_path / "a.wav")


@pytest.mark.parametrize("suffix", ["wav", "raw", "mp4", "txt"])
def test_text_is_not_audio_whatever_its_name(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_text("minutes of the meeting\n" * 100)
    with pytest.raises(AudioReadError, match=r"not an audio or video file|no sound track"):
        probe(path)


def test_a_video_without_sound_says_so(compress, sweep):
    path = compress("silent.mp4", "aac", sweep(1.0, 16_000), 16_000, picture=True, sound=False)
    with pytest.raises(AudioReadError, match="no sound track"):
        probe(path)


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3"])
def test_a_file_cut_short_is_refused(tmp_path, suffix):
    noise = 0.1 * np.random.default_rng(0).standard_normal(80_000)
    path = tmp_path / f"a.{suffix}"
    sf.write(path, noise, 16_000)
    with pytest.raises(AudioReadError, match=r"cut short|breaks off"):
        read_audio(cut(path, 0.6))


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "aac"), ("a.m4a", "aac"), ("a.mkv", "aac")])
def test_a_video_cut_short_is_refused(compress, name, codec):
    noise = (0.1 * np.random.default_rng(0).standard_normal((1, 80_000))).astype(np.float32)
    with pytest.raises(AudioReadError, match=r"cut short"):
        read_audio(cut(compress(name, codec, noise, 16_000), 0.6))


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_file_without_its_end_is_doubted(tmp_path, subtype):
    path = tmp_path / "a.ogg"
    sf.write(path, 0.1 * np.random.default_rng(0).standard_normal(96_000), 48_000, subtype, format="OGG")
    assert AudioReader(path).doubts == []
    assert AudioReader(cut(path, 0.6)).doubts == ["the file has no mark of its end; it may have been cut short"]


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_wav_written_into_a_pipe_has_no_length_and_is_read(tmp_path, size):
    path = tmp_path / "a.wav"
    sf.write(path, np.full(8000, 0.1), 16_000, subtype="PCM_16")
    content = bytearray(path.read_bytes())
    position = content.index(b"data")
    content[position + 4 : position + 8] = struct.pack("<I", size)
    content[4:8] = struct.pack("<I", 0xFFFFFFFF)
    path.write_bytes(content)
    if size:  # zero samples by its own word, when the size is zero
        assert read_audio(path).samples.shape == (1, 8000)
    else:
        assert probe(path).channels == 1


def test_a_hole_in_the_time_stamps_is_filled_with_silence(tmp_path):
    import av

    path = tmp_path / "hole.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for second in (0, 1, 3):
            frame = av.AudioFrame.from_ndarray(np.full((1, 16_000), 3000, np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.pts = 16_000, 16_000 * second
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    reader = AudioReader(path)
    samples = np.concatenate(list(reader.blocks(4096)), axis=1)
    assert reader.notes == ["filled 1.00 s of missing sound with silence"]
    assert samples.shape[1] == pytest.approx(64_000, abs=32)
    assert not samples[0, 33_000:47_000].any()
    assert samples[0, 49_000:].all()


def test_damaged_packets_are_passed_over_and_told(compress, sweep):
    path = compress("a.m4a", "aac", sweep(4.0, 16_000), 16_000)
    content = bytearray(path.read_bytes())
    start = content.index(b"mdat") + 4000
    content[start : start + 600] = b"\xff" * 600
    path.write_bytes(content)
    reader = AudioReader(path)
    samples = np.concatenate(list(reader.blocks(4096)), axis=1)
    assert any("damaged packets" in note for note in reader.notes)
    assert samples.shape[1] == pytest.approx(64_000, abs=1024)


@pytest.mark.parametrize("channels", [3, 6, 12])
def test_many_channels_in_a_container_are_read(tmp_path, channels):
    import av

    sf.write(tmp_path / "a.wav", np.random.default_rng(0).uniform(-0.5, 0.5, (8000, channels)), 16_000)
    with av.open(str(tmp_path / "a.wav")) as source, av.open(str(tmp_path / "a.mov"), "w") as target:
        stream = target.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    np.testing.assert_array_equal(read_audio(tmp_path / "a.mov").samples, read_audio(tmp_path / "a.wav").samples)


@pytest.mark.parametrize(("suffix", "subtype"), [("mp3", None), ("ogg", "VORBIS"), ("opus", "OPUS")])
def test_files_joined_to_one_are_read_to_the_end(tmp_path, suffix, subtype):
    noise = np.random.default_rng(0).standard_normal((2, 96_000)) / 10
    for name, part in zip("ab", (noise[0], noise[1, :48_000]), strict=True):
        container = "OGG" if subtype else "MP3"
        sf.write(tmp_path / f"{name}.{suffix}", part, 48_000, subtype, format=container)
    joined = tmp_path / f"joined.{suffix}"
    joined.write_bytes(b"".join((tmp_path / f"{name}.{suffix}").read_bytes() for name in "ab"))
    assert read_audio(joined).samples.shape[1] == pytest.approx(144_000, abs=4_000)
    assert AudioReader(tmp_path / f"a.{suffix}").frames == 96_000


def test_an_mp3_file_that_does_not_say_how_long_it_is_is_read_to_the_end(tmp_path, sweep):
    path = tmp_path / "a.mp3"
    sf.write(path, sweep(4.0, 48_000).T, 48_000, format="MP3")
    said = path.read_bytes()
    path.write_bytes(said.replace(b"Info", bytes(4)).replace(b"Xing", bytes(4)))
    assert path.read_bytes() != said
    assert probe(path).frames is None
    assert count_frames(path) == read_audio(path).samples.shape[1] == pytest.approx(192_000, abs=4_000)
    assert count_seconds(path) == pytest.approx(4.0, abs=0.1)


@pytest.mark.parametrize("places", [(40,), (4, 40)])
def test_what_a_recorder_that_crashed_left_is_read(tmp_path, sweep, places):
    samples = sweep(1.0, 16_000)
    path = tmp_path / "a.wav"
    sf.write(path, samples.T, 16_000)
    written = bytearray(path.read_bytes())
    for place in places:
        written[place : place + 4] = bytes(4)
    path.write_bytes(written)
    with AudioReader(path) as reader:
        read = np.concatenate(list(reader.blocks(7_000)), axis=1)
        assert "longer than its header" in reader.doubts[0]
    np.testing.assert_allclose(read, samples, atol=2**-15)


def test_a_wav_file_without_samples_is_empty_whatever_follows(tmp_path):
    path = tmp_path / "a.wav"
    sf.write(path, np.zeros(0), 16_000)
    path.write_bytes(path.read_bytes() + b"LIST" + struct.pack("<I", 8) + b"INFOISFT")
    with AudioReader(path) as reader:
        assert (reader.frames, reader.doubts) == (0, [])


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "aac"), ("a.webm", "libopus")])
def test_sound_that_begins_late_is_whole(compress, sweep, name, codec):
    path = compress(name, codec, sweep(4.0, 48_000), 48_000, start=96_000, picture=codec == "aac")
    read = read_audio(path).samples.shape[1]
    assert read == pytest.approx(192_000, abs=2_048)
    assert probe(path).frames == pytest.approx(read, abs=2_048)


def test_sound_that_changes_channels_and_rate_midway_keeps_those_of_its_beginning(compress, sweep):
    mono, wide = sweep(1.0, 48_000), np.repeat(sweep(1.0, 24_000), 2, axis=0)
    first, second = (compress(f"{n}.aac", "aac", one, r) for n, one, r in (("a", mono, 48_000), ("b", wide, 24_000)))
    first.write_bytes(first.read_bytes() + second.read_bytes())
    audio = read_audio(first)
    assert audio.sample_rate == 48_000
    assert audio.samples.shape == (1, pytest.approx(96_000, abs=8_000))
    assert np.abs(audio.samples[:, 60_000:85_000]).max() > 0.1


@pytest.mark.parametrize(
    ("recorded", "written"),
    [
        *[(name, "PCM_16") for name in ("PCM_16", "PCM_U8", "VORBIS", "mp3float", "pcm_s16le", "alac", "G721_32")],
        *[(name, "PCM_24") for name in ("PCM_24", "PCM_32", "ALAC_20", "pcm_s24le", "pcm_s32be", "alac_24")],
        *[(name, "FLOAT") for name in ("FLOAT", "DOUBLE", "pcm_f32le", "pcm_f64be")],
    ],
)
def test_tracks_have_as_many_bits_as_the_recording(recorded, written):
    assert choose_subtype(recorded) == written


def test_the_bits_of_lossless_sound_in_a_container_are_seen(tmp_path, sweep):
    import av

    with av.open(str(tmp_path / "a.m4a"), "w") as container:
        stream = container.add_stream("alac", rate=48_000, layout="mono", format="s32p")
        values = (sweep(0.5, 48_000) * 2**31).astype(np.int32)
        frame = av.AudioFrame.from_ndarray(values, format="s32p", layout="mono")
        frame.sample_rate = 48_000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    assert probe(tmp_path / "a.m4a").subtype == "alac_24"
