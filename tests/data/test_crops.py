"""Files of mouth crops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from unmingle.data.crops import crops_shape, frames_of, read_crops, require_length, write_crops
from unmingle.errors import MissingFileError, ShapeError, VideoReadError

CROPS = np.random.default_rng(0).integers(0, 256, (10, 6, 8)).astype(np.uint8)


@pytest.mark.parametrize("name", ["lips.npy", "lips.npz"])
def test_crops_are_read_as_they_were_written(name: str, tmp_path: Path) -> None:
    write_crops(tmp_path / name, CROPS)
    assert crops_shape(tmp_path / name) == (10, 6, 8)
    assert np.array_equal(read_crops(tmp_path / name), CROPS)
    assert np.array_equal(read_crops(tmp_path / name, 3, 4), CROPS[3:7])
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_published_file_is_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "lips.npz", data=CROPS)
    assert np.array_equal(read_crops(tmp_path / "lips.npz", 9), CROPS[9:])


@pytest.mark.parametrize("name", ["lips.npy", "lips.npz"])
def test_outside_the_clip_its_ends_stand_still(name: str, tmp_path: Path) -> None:
    write_crops(tmp_path / name, CROPS)
    around = read_crops(tmp_path / name, -2, 14)
    assert np.array_equal(around, CROPS[[0, 0, *range(10), 9, 9]])
    assert np.array_equal(read_crops(tmp_path / name, 20, 2), CROPS[[9, 9]])
    assert np.array_equal(read_crops(tmp_path / name, -5, 2), CROPS[[0, 0]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (CROPS.astype(np.float32), "float32"),
        (CROPS[0], r"\(6, 8\)"),
        (np.array([{"facial": 1}]), "object"),
    ],
)
def test_anything_but_gray_levels_is_refused(content: np.ndarray, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "lips.npy", content)
    with pytest.raises(VideoReadError, match=message):
        read_crops(tmp_path / "lips.npy")


def test_damaged_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "lips.npy").write_bytes(b"text")
    (tmp_path / "lips.npz").write_bytes(b"text")
    np.savez(tmp_path / "other.npz", crops=CROPS)
    for name in ("lips.npy", "lips.npz", "other.npz"):
        with pytest.raises(VideoReadError, match=f"{name} holds no mouth crops"):
            read_crops(tmp_path / name)
    np.save(tmp_path / "short.npy", CROPS)
    (tmp_path / "short.npy").write_bytes((tmp_path / "short.npy").read_bytes()[:-1])
    with pytest.raises(VideoReadError, match="ends before"):
        read_crops(tmp_path / "short.npy")
    with pytest.raises(MissingFileError, match="there are no mouth crops"):
        read_crops(tmp_path / "none.npy")


def test_crops_may_be_longer_than_their_sound_and_a_frame_shorter() -> None:
    assert frames_of(32_000, 16_000) == 50
    for n_frames in (49, 50, 51, 80):
        require_length(n_frames, n_samples=32_000, sample_rate=16_000, what="lips")
    with pytest.raises(ShapeError, match=r"lips has 48 frames \(1.92 s\).* 2.00 s, which is 50 frames"):
        require_length(48, n_samples=32_000, sample_rate=16_000, what="lips")
