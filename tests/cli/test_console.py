"""What commands print with: plain tables, JSON, and a progress bar that waits two seconds."""

from __future__ import annotations

import io
import re
import sys

import pytest

from unmingle.cli import console


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(console, "monotonic", clock)
    return clock


def test_short_work_shows_no_bar(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with console.progress("talk.wav") as report:
        clock.now += 1.9
        report(5.0, 10.0)
    assert terminal.getvalue() == ""


def test_long_work_shows_how_far_it_is_and_how_fast(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with console.progress("talk [1].wav") as report:
        clock.now += 2.5
        report(5.0, 10.0)
        clock.now += 2.5
        report(10.0, 10.0)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    assert "talk [1].wav" in plain
    assert "50%" in plain or "100%" in plain
    assert "2.0 x real time" in plain


def test_the_time_left_is_told_from_the_speed_of_this_run(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with console.progress("meeting.wav") as report:
        clock.now += 3
        report(3600.0, 10_000.0)  # what a run before this one has done
        clock.now += 100
        report(4000.0, 10_000.0)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    assert "4.0 x real time 0:25:00 left" in plain


def test_work_of_unknown_length_shows_a_bar_as_well(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with console.progress("pipe") as report:
        clock.now += 3
        report(6.0, None)
    assert "pipe" in terminal.getvalue()


def test_no_bar_is_drawn_into_a_file(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    monkeypatch.setattr(sys, "stderr", file := io.StringIO())
    with console.progress("talk.wav") as report:
        clock.now += 100
        report(5.0, 10.0)
    assert file.getvalue() == ""


def test_a_table_lines_up_and_is_never_cut() -> None:
    long = "n" * 200
    lines = console.table(("name", "Hz"), [(long, 8000), ("b", None)], right=(1,)).splitlines()
    assert lines == [f"{'name':200}    Hz", f"{long}  8000", f"{'b':200}     -"]


def test_json_keeps_letters_and_refuses_what_is_not_json(capsys: pytest.CaptureFixture[str]) -> None:
    console.emit_json({"name": "Käse"})
    assert "Käse" in capsys.readouterr().out
    with pytest.raises(ValueError, match="not JSON compliant"):
        console.emit_json({"level": float("nan")})
