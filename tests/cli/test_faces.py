"""`unmingle faces`: who is seen when, on stdout and in files; what is wrong, in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from unmingle.video.drawn import draw_talking_face
from unmingle.video.faces import read_faces

Cli = Callable[..., Any]


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two drawn people beside each other, without sound."""
    opening = np.clip(np.sin(np.arange(28) / 4), 0, 1)
    frames = np.concatenate([draw_talking_face(opening, seed=k, size=(160, 200), face=100) for k in (0, 1)], axis=2)
    path = tmp_path_factory.mktemp("panel") / "panel.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame))))
        container.mux(stream.encode())
    return path


def test_who_is_seen_when_is_listed_and_kept(cli: Cli, panel: Path, tmp_path: Path) -> None:
    ran = cli("faces", panel, "-o", tmp_path / "new" / "folder")
    assert (ran.code, ran.err) == (0, "")
    first, *faces, last = ran.out.splitlines()
    assert "from - to" in first
    assert [line.split()[:5] for line in faces] == [[name, "1.12", "0.00", "-", "1.12"] for name in ("face1", "face2")]
    assert len(read_faces(last).tracks) == 2
    names = sorted(path.name for path in (tmp_path / "new" / "folder").iterdir())
    assert names == ["panel.faces.json", "panel_face1.png", "panel_face2.png"]
    with av.open(str(tmp_path / "new" / "folder" / "panel_face1.png")) as picture:
        assert max(picture.streams.video[0].width, picture.streams.video[0].height) == 192


def test_machines_get_json_and_the_number_can_be_given(cli: Cli, panel: Path, tmp_path: Path) -> None:
    ran = cli("faces", panel, "-o", tmp_path, "--json", "-n", 1)
    assert ran.code == 0
    found = json.loads(ran.out)
    assert found["picture"] == [400, 160]
    assert [(face["name"], face["intervals"]) for face in found["faces"]] == [("face1", [[0.0, 1.12]])]
    assert Path(found["faces"][0]["picture"]).exists()
    assert "2 faces are seen, 1 wanted" in ran.err


def test_nothing_is_overwritten_unasked_and_nothing_is_left_over(cli: Cli, panel: Path, tmp_path: Path) -> None:
    (tmp_path / "panel.faces.json").write_text("mine")
    ran = cli("faces", panel, "-o", tmp_path)
    assert ran.code == 1
    assert "already there" in ran.err
    assert (tmp_path / "panel.faces.json").read_text() == "mine"
    (tmp_path / "panel_face3.png").write_text("of an earlier run, when there were three")
    assert cli("faces", panel, "-o", tmp_path, "--overwrite").code == 0
    assert not (tmp_path / "panel_face3.png").exists()
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "panel_face3.png").write_text("mine")
    assert cli("faces", panel, "-o", tmp_path / "new").code == 0
    assert (tmp_path / "new" / "panel_face3.png").read_text() == "mine"


def test_what_is_no_video_fails_in_one_line(cli: Cli, tmp_path: Path, recording: Path) -> None:
    for path, words in ((recording, "holds no picture"), (tmp_path / "none.mp4", "is not there")):
        ran = cli("faces", path)
        assert ran.code == 1
        assert ran.err.startswith("Error: ")
        assert words in ran.err
        assert len(ran.err.splitlines()) == 1
        assert ran.out == ""


def test_a_video_of_nobody_fails_and_leaves_nothing(cli: Cli, tmp_path: Path, write_movie: Callable[..., Path]) -> None:
    path = write_movie(tmp_path / "dark.mp4", None, picture=True)
    ran = cli("faces", path, "-o", tmp_path / "out")
    assert ran.code == 1
    assert "no face was found" in ran.err
    assert not (tmp_path / "out").exists()
