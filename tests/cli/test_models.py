"""`unmingle models`: listing, looking, fetching."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import unmingle.checkpoint
from unmingle.presets import PRESETS

Cli = Callable[..., Any]


def test_the_list_has_every_preset(cli: Cli) -> None:
    shown = cli("models", "list")
    listed = {line.split()[0] for line in shown.out.splitlines()[1:]}
    assert shown.code == 0
    assert set(PRESETS) <= listed
    assert listed == {entry["name"] for entry in json.loads(cli("models", "list", "--json").out)}


def test_a_preset_is_described_with_its_size(cli: Cli) -> None:
    found = json.loads(cli("models", "info", "tdanet", "--json").out)
    assert (found["family"], found["sample_rate"], found["weights"]) == ("tdanet", 16_000, False)
    assert found["parameters"] > 2_000_000
    assert found["config"]["n_iterations"] == 16
    assert "2,3" in cli("models", "info", "tdanet").out


def test_a_weights_file_is_described_by_its_card(cli: Cli, tiny: Path) -> None:
    found = json.loads(cli("models", "info", tiny, "--json").out)
    assert (found["name"], found["licence"], found["weights"]) == ("tiny", "MIT", True)
    assert found["path"] == str(tiny)
    assert found["config"]["channels"] == 8


def test_an_unknown_model_gets_the_near_name(cli: Cli) -> None:
    ran = cli("models", "info", "tdanett")
    assert ran.code == 1
    assert "did you mean" in ran.err
    assert "'tdanet'" in ran.err


def test_pulling_describes_what_was_fetched(cli: Cli, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def fetch(hub_id: str) -> Path:
        asked.append(hub_id)
        return tiny

    monkeypatch.setattr(unmingle.checkpoint, "fetch", fetch)
    ran = cli("models", "pull", "owner/tiny")
    assert (ran.code, asked) == (0, ["owner/tiny"])
    assert str(tiny) in ran.out


def test_without_a_network_pulling_says_what_to_do(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    ran = cli("models", "pull", "owner/tiny")
    assert ran.code == 1
    assert ran.err.startswith("Error: 'owner/tiny' is not in the local cache")


def test_a_preset_is_not_looked_for_on_the_network(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(hub_id: str) -> Path:
        raise AssertionError(hub_id)

    monkeypatch.setattr(unmingle.checkpoint, "fetch", fetch)
    ran = cli("models", "pull", "tdanet")
    assert ran.code == 1
    assert "tdanet is a preset" in ran.err


def test_a_path_that_looks_like_a_repository_is_called_a_path_too(cli: Cli) -> None:
    ran = cli("models", "info", "weights/mine")
    assert ran.code == 1
    assert "'weights/mine' is neither a file here nor a hub repository that was fetched" in ran.err


def test_a_preset_with_a_lip_reader_counts_it_apart(cli):
    found = json.loads(cli("models", "info", "iianet", "--json").out)
    assert (found["parameters"], found["front_end_parameters"]) == (3_036_670, 11_186_688)
    assert found["config"]["lips"]["widths"] == [64, 128, 256, 512]
