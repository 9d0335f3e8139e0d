"""Decoded audio is kept, and never half of it."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile

from unmingle.audio.temporary import Hold
from unmingle.data import speech as speech_files
from unmingle.data.store import Store, open_store
from unmingle.errors import AudioReadError, OutputError

RATE = 8000


def opened(speech: Path, **options: object) -> Store:
    cache = speech.parent / "cache"
    return open_store(speech, **{"sample_rate": RATE, "cache_dir": cache, **options})  # type: ignore[arg-type]


def test_the_store_holds_what_the_files_hold(speech: Path) -> None:
    store = opened(speech)
    assert [utterance.speaker for utterance in store.utterances] == ["anna"] * 3 + ["berta", "carl", "dirk"]
    samples, _ = soundfile.read(speech.parent / "speech" / "anna" / "1.wav")
    np.testing.assert_allclose(store.read(1, 100, 50), samples[100:150], atol=1 / 32768)
    assert store.read(1, 0, 10**6).shape == samples.shape
    assert store.read(1, 0, 10**6).dtype == np.float32


def test_nothing_is_decoded_twice(speech: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = opened(speech)
    monkeypatch.setattr(speech_files, "load", lambda *_: pytest.fail("decoded again"))
    assert opened(speech).folder == first.folder


def test_what_changes_the_audio_changes_the_store(speech: Path) -> None:
    folders = {opened(speech).folder, opened(speech, sample_rate=4000).folder}
    folders.add(opened(speech, exclude_corpora=["carl"]).folder)
    soundfile.write(speech.parent / "speech" / "carl" / "0.wav", np.full(9000, 0.1), RATE)
    folders.add(opened(speech).folder)
    soundfile.write(speech.parent / "speech" / "carl" / "0.wav", np.full(9000, 0.2), RATE)  # as long as before
    folders.add(opened(speech).folder)
    assert len(folders) == 5


def test_a_torn_store_is_never_used(speech: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class StopError(Exception):
        pass

    calls: list[object] = []
    load = speech_files.load

    def stop(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) > 3:
            raise StopError
        return load(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(speech_files, "load", stop)
    with pytest.raises(StopError):
        opened(speech)
    assert list((speech.parent / "cache").iterdir()) == []
    monkeypatch.setattr(speech_files, "load", load)
    assert len(opened(speech)) == 6


def test_what_a_killed_process_left_is_swept_and_what_another_is_at_stays(speech: Path) -> None:
    cache = speech.parent / "cache"
    left, at_work = cache / ".unmingle-0123.store", cache / ".unmingle-4567.store"
    for draft in (left, at_work):
        draft.mkdir(parents=True)
        (draft / "samples.raw").write_bytes(bytes(10))
    left.with_suffix(".tmp").touch()
    hold = Hold(at_work.with_suffix(".tmp"))
    store = opened(speech)
    assert sorted(cache.iterdir()) == sorted([at_work, hold.path, store.folder])
    hold.release()


def test_two_that_make_one_store_at_once_both_have_it(speech: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = speech_files.load

    def slowly(*arguments: object) -> object:
        monkeypatch.setattr(speech_files, "load", load)
        opened(speech)  # the other process, faster
        return load(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(speech_files, "load", slowly)
    store = opened(speech)
    assert len(store) == 6
    assert list((speech.parent / "cache").iterdir()) == [store.folder]


def test_a_store_travels_as_a_path(speech: Path) -> None:
    store = opened(speech)
    before = store.read(0, 0, 100)
    parcel = pickle.dumps(store)
    assert len(parcel) < 5000
    np.testing.assert_array_equal(pickle.loads(parcel).read(0, 0, 100), before)


def test_progress_is_told(speech: Path) -> None:
    told: list[tuple[int, int]] = []
    opened(speech, progress=lambda done, total: told.append((done, total)))
    assert told == [(number, 6) for number in range(1, 7)]


def test_loud_samples_are_held_at_full_scale(tmp_path: Path) -> None:
    (tmp_path / "anna").mkdir()
    soundfile.write(tmp_path / "anna" / "a.wav", np.array([2.0, -2.0, 0.5]), RATE, subtype="FLOAT")
    read = open_store(tmp_path, sample_rate=RATE, cache_dir=tmp_path / "cache").read(0, 0, 3)
    np.testing.assert_allclose(read, [1, -1, 0.5], atol=1e-4)


def test_a_cache_that_cannot_be_written_says_so(speech: Path) -> None:
    (speech.parent / "cache").write_text("a file, not a folder")
    with pytest.raises(OutputError, match=r"set data\.cache_dir"):
        opened(speech)


def test_a_file_that_vanished_is_named(speech: Path) -> None:
    (speech.parent / "speech" / "carl" / "0.wav").write_bytes(b"RIFF")
    with pytest.raises(AudioReadError, match=r"0\.wav"):
        opened(speech)


def test_the_index_is_plain_json(speech: Path) -> None:
    rows = json.loads((opened(speech).folder / "index.json").read_text())
    assert rows[0] == {"id": rows[0]["id"], "speaker": "anna", "gender": "F", "n_samples": 12_000}
