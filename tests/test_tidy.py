"""The repository is tidy."""

import importlib.util
import subprocess
from pathlib import Path

import pytest

TIDY = Path(__file__).with_name("tidy.py")


def test_constraints_sizes_and_paths_are_in_order() -> None:
    spec = importlib.util.spec_from_file_location("tidy", TIDY)
    assert spec is not None
    assert spec.loader is not None
    tidy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tidy)
    try:
        problems = tidy.problems()
    except (subprocess.CalledProcessError, FileNotFoundError):
        pytest.skip("not a git checkout")
    assert problems == []
