"""`unmingle separate` from the outside: what it writes, prints and skips, with a network too small to separate well."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from unmingle import __version__

RATE = 8000
READER = Path(__file__).parents[2] / "examples" / "two-voices" / "reference_1.flac"
Cli = Callable[..., Any]
COMPLETE = ["talk.rttm", "talk.separation.json", "talk_spk1.wav", "talk_spk2.wav"]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def separate(cli: Cli, tiny: Path) -> Cli:
    return lambda *arguments: cli("separate", "--model", tiny, "--threads", 1, *arguments)


def test_tracks_and_report_are_written_beside_the_recording(separate: Cli, recording: Path) -> None:
    ran = separate(recording)
    assert ran.code == 0, ran.err
    assert names(recording.parent) == ["talk.rttm", "talk.separation.json", "talk.wav", *COMPLETE[2:]]
    printed = [Path(line.split("  ")[0]) for line in ran.out.splitlines()]
    assert printed == [recording.with_name("talk_spk1.wav"), recording.with_name("talk_spk2.wav")]
    assert "dBFS" in ran.out
    for path in printed:
        assert (sf.info(path).samplerate, sf.info(path).frames) == (RATE, sf.info(recording).frames)


def test_the_report_says_how_it_was_done(separate: Cli, recording: Path, tmp_path: Path) -> None:
    separate(recording, "-o", tmp_path / "out", "--gate")
    assert names(tmp_path / "out") == COMPLETE
    said = json.loads((tmp_path / "out" / "talk.separation.json").read_text())
    assert (said["model"], said["unmingle_version"], said["sample_rate"]) == ("tiny", __version__, RATE)
    assert said["settings"]["gate"] is True
    assert said["input"] == {"name": "talk.wav", "size_bytes": recording.stat().st_size}
    assert [track["path"] for track in said["tracks"]] == ["talk_spk1.wav", "talk_spk2.wav"]
    assert {"level_dbfs", "active_seconds", "confidence"} <= set(said["tracks"][0])


def test_json_says_where_everything_is(separate: Cli, recording: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing.wav"
    ran = separate(recording, missing, "--json", "-o", tmp_path / "out")
    done, failed = json.loads(ran.out)
    assert ran.code == 1
    assert done["state"] == "done"
    assert all(Path(track["path"]).is_file() for track in done["tracks"])
    assert Path(done["sidecar"]).is_file()
    assert (failed["state"], failed["source"]) == ("failed", str(missing))
    assert "no file" in failed["error"]


def test_a_folder_is_separated_with_its_structure(separate: Cli, recording: Path, tmp_path: Path) -> None:
    (recording.parent / "sub").mkdir()
    shutil.copy(recording, recording.parent / "sub")
    assert separate(recording.parent, "-o", tmp_path / "out").code == 0
    assert names(tmp_path / "out") == ["sub", *COMPLETE]
    assert names(tmp_path / "out" / "sub") == COMPLETE


def test_a_failure_does_not_stop_the_others_and_is_summed_up(separate: Cli, recording: Path, tmp_path: Path) -> None:
    (recording.parent / "broken.wav").write_text("not sound")
    ran = separate(recording.parent, "-o", tmp_path / "out")
    assert ran.code == 1
    assert names(tmp_path / "out") == COMPLETE
    assert f"2 recordings: 1 done, 1 failed ({recording.parent / 'broken.wav'})" in ran.err


def test_resume_skips_what_is_done_and_still_prints_it(separate: Cli, recording: Path, tmp_path: Path) -> None:
    first = separate(recording, "-o", tmp_path / "out")
    written = (tmp_path / "out" / "talk_spk1.wav").stat().st_mtime_ns
    again = separate(recording, "-o", tmp_path / "out", "--resume")
    assert (again.code, again.out) == (0, first.out)
    assert "is done already" in again.err
    assert (tmp_path / "out" / "talk_spk1.wav").stat().st_mtime_ns == written


def test_overwrite_replaces_what_is_there(separate: Cli, recording: Path) -> None:
    recording.with_name("talk_spk1.wav").write_text("old")
    assert separate(recording, "--overwrite").code == 0
    assert sf.info(recording.with_name("talk_spk1.wav")).samplerate == RATE


def test_a_picture_is_drawn_on_request(separate: Cli, recording: Path, tmp_path: Path) -> None:
    ran = separate(recording, "-o", tmp_path / "out", "--plot")
    assert ran.code == 0, ran.err
    assert str(tmp_path / "out" / "talk.separation.png") in ran.out
    assert (tmp_path / "out" / "talk.separation.png").read_bytes().startswith(b"\x89PNG")


def test_tracks_are_written_in_the_format_asked_for(separate: Cli, recording: Path, tmp_path: Path) -> None:
    separate(recording, "-o", tmp_path / "out", "--format", "flac")
    assert sf.info(tmp_path / "out" / "talk_spk2.flac").format == "FLAC"


@pytest.mark.parametrize(
    "words", [("--format", "tape"), ("-n", "0"), ("--threads", "0"), ("--level", "loud"), ("--level", "5")]
)
def test_an_impossible_value_is_misuse(separate: Cli, recording: Path, words: tuple[str, str]) -> None:
    ran = separate(recording, *words)
    assert (ran.code, ran.out) == (2, "")
    assert names(recording.parent) == ["talk.wav"]


def test_speakers_are_counted_and_their_turns_listed(separate: Cli, tmp_path: Path) -> None:
    voice, rate = sf.read(READER, stop=9 * 16_000)
    sf.write(tmp_path / "talk.wav", voice, rate)
    ran = separate(tmp_path / "talk.wav", "-n", "auto", "-o", tmp_path / "out", "--max-speakers", "1")
    assert ran.code == 0, ran.err
    assert names(tmp_path / "out") == COMPLETE[:3]
    assert "voice" in ran.err
    said = json.loads((tmp_path / "out" / "talk.separation.json").read_text())
    assert said["n_speakers"] <= 1
    assert (said["settings"]["n_speakers"], said["settings"]["max_speakers"]) == ("auto", 1)
    lines = (tmp_path / "out" / "talk.rttm").read_text().splitlines()
    assert [float(line.split()[3]) for line in lines] == [segment["start"] for segment in said["segments"]]


def test_a_voice_that_is_not_heard_is_told_with_its_likeness(separate: Cli, tmp_path: Path) -> None:
    voice, rate = sf.read(READER, stop=6 * 16_000)
    sf.write(tmp_path / "talk.wav", voice, rate)
    other = READER.with_name("reference_2.flac")
    ran = separate(
        tmp_path / "talk.wav", "-n", "auto", "-o", tmp_path / "out", "--enroll", f"carlo={other}", "--only", "carlo"
    )
    assert ran.code == 1
    assert "carlo is not heard" in ran.err
    assert "likeness of" in ran.err
    assert not (tmp_path / "out").exists()


def test_only_a_voice_that_is_enrolled_can_be_wanted(separate: Cli, recording: Path) -> None:
    ran = separate(recording, "--only", "bob")
    assert ran.code == 2
    assert "nobody is enrolled" in ran.err


def test_no_input_is_misuse(separate: Cli) -> None:
    ran = separate()
    assert ran.code == 2
    assert "Missing argument 'INPUT'" in ran.err
    assert separate("").code == 2  # not the folder in which it runs


def test_spaces_and_unicode_in_a_path_do_no_harm(separate: Cli, recording: Path, tmp_path: Path) -> None:
    odd = recording.rename(recording.with_name("смех & Käse [1] 笑.wav"))
    out = tmp_path / "söme where: else"
    ran = separate(odd, "-o", out)
    assert ran.code == 0, ran.err
    assert names(out)[2:] == ["смех & Käse [1] 笑_spk1.wav", "смех & Käse [1] 笑_spk2.wav"]


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "aac"), ("m4a", "aac"), ("mkv", "libopus")])
def test_the_sound_of_videos_and_containers_is_separated(
    separate: Cli, tmp_path: Path, talk: Cli, write_movie: Cli, suffix: str, codec: str
) -> None:
    write_movie(tmp_path / f"film.{suffix}", talk(2), codec=codec, picture=suffix != "m4a")
    ran = separate(tmp_path / f"film.{suffix}", "-o", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert sf.info(tmp_path / "out" / "film_spk1.wav").duration == pytest.approx(2.0, abs=0.05)


# Odd, but no reason to refuse


def test_an_offset_is_no_obstacle(separate: Cli, tmp_path: Path, talk: Cli) -> None:
    sf.write(tmp_path / "offset.wav", talk() + 0.3, RATE)
    assert separate(tmp_path / "offset.wav").code == 0


def test_a_clipped_recording_is_separated_with_a_warning(separate: Cli, tmp_path: Path, talk: Cli) -> None:
    sf.write(tmp_path / "loud.wav", np.clip(20 * talk(), -1, 1), RATE)
    ran = separate(tmp_path / "loud.wav")
    assert ran.code == 0
    assert "Warning: loud.wav" in ran.err
    assert "clip" in ran.err


def test_32_channels_are_mixed_down_and_that_is_said(separate: Cli, tmp_path: Path, talk: Cli) -> None:
    sf.write(tmp_path / "array.wav", np.repeat(talk()[:, None], 32, axis=1), RATE)
    ran = separate(tmp_path / "array.wav")
    assert ran.code == 0
    assert "32 channels" in ran.err
    assert sf.info(tmp_path / "array_spk1.wav").channels == 1


def test_another_sample_rate_is_kept_and_the_conversion_is_said(separate: Cli, tmp_path: Path, talk: Cli) -> None:
    sf.write(tmp_path / "hifi.wav", talk(sample_rate=44_100), 44_100)
    ran = separate(tmp_path / "hifi.wav")
    assert ran.code == 0
    assert "resampled from 44100 to 8000 Hz" in ran.err
    assert sf.info(tmp_path / "hifi_spk1.wav").samplerate == 44_100


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_an_interruption_keeps_what_is_finished_and_nothing_else(
    tiny: Path, tmp_path: Path, talk: Cli, number: signal.Signals, code: int
) -> None:
    sf.write(tmp_path / "a.wav", talk(1), RATE)
    sf.write(tmp_path / "b.wav", np.tile(talk(60), 10), RATE)
    # The child takes interruptions whatever this process inherited; ours comes when its first result is printed.
    program = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "signal.signal(signal.SIGTERM, signal.SIG_DFL); signal.signal(signal.SIGHUP, signal.SIG_DFL); "
        "from unmingle.cli.app import main; sys.exit(main())"
    )
    words = ["separate", "a.wav", "b.wav", "-o", "out", "--threads", "1", "--model", str(tiny)]
    with subprocess.Popen(
        [sys.executable, "-c", program, *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline().startswith("out/a_spk1.wav")
        child.send_signal(number)
        err = child.communicate(timeout=60)[1]
    assert child.returncode == code
    assert names(tmp_path / "out") == ["a.rttm", "a.separation.json", "a_spk1.wav", "a_spk2.wav"]
    assert "Interrupted: 1 of 2 recordings are complete" in err
    assert "Traceback" not in err
