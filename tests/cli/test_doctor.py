"""`unmingle doctor`: it finds what is missing, says what to do, and never breaks over what is broken."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from unmingle.cli import doctor
from unmingle.presets import PRESETS

Cli = Callable[..., Any]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """Versions that the doctor shall find instead of the real ones; None is not installed."""
    instead: dict[str, str | None] = {}
    real = metadata.version

    def version(name: str) -> str:
        found = instead[name] if name in instead else real(name)
        if found is None:
            raise metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(doctor, "_PARTS", {"sound files": lambda: "fine"})
    return instead


def test_a_healthy_installation_is_in_order(cli: Cli, installed: dict[str, str | None]) -> None:
    ran = cli("doctor")
    assert ran.code == 0
    assert "torch" in ran.out
    assert "sound files  yes    fine" in ran.out


def test_a_missing_extra_is_advice_and_no_error(cli: Cli, installed: dict[str, str | None]) -> None:
    installed["pesq"] = None
    ran = cli("doctor")
    assert ran.code == 0
    assert "pip install 'unmingle[eval]'" in ran.out


@pytest.mark.parametrize("version", [None, "1.13.1"])
def test_a_missing_or_old_base_package_is_an_error(
    cli: Cli, installed: dict[str, str | None], version: str | None
) -> None:
    installed["torch"] = version
    ran = cli("doctor", "--json")
    assert ran.code == 1
    found = json.loads(ran.out)
    assert "Separation cannot work without torch" in found["advice"][0]
    assert [package["usable"] for package in found["packages"] if package["name"] == "torch"] == [False]


def test_a_part_that_breaks_is_reported(
    cli: Cli, installed: dict[str, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> str:
        raise OSError("libsomething.so: cannot open shared object file")

    monkeypatch.setattr(doctor, "_PARTS", {"sound files": broken})
    ran = cli("doctor")
    assert ran.code == 1
    assert "sound files does not work: OSError: libsomething.so" in ran.out


def test_the_real_parts_of_this_installation_work() -> None:
    assert {name: doctor._try(probe)[0] for name, probe in doctor._PARTS.items() if name != "weights"} == {
        "processor": True,
        "sound files": True,
        "video files": True,
        "resampling": True,
        "selective scan": True,
    }


def test_only_weights_that_are_there_are_named() -> None:
    names = doctor._weights().split(", ")
    assert names
    assert not set(names) & set(PRESETS)


def test_a_microphone_without_its_library_is_advice(
    cli: Cli, installed: dict[str, str | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed["sounddevice"] = "0.5.6"
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    ran = cli("doctor")
    assert ran.code == 0
    assert "libportaudio2" in ran.out
