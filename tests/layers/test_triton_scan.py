"""The Triton kernels without a device. Triton reads its switch when it is first imported, hence the extra process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton is not installed; where it is, its interpreter checks the kernels here")


@pytest.mark.slow
def test_its_interpreter_gives_what_the_other_back_ends_give():
    tests = Path(__file__).with_name("test_selective_scan.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests), "-k", "triton"]
    done = subprocess.run(command, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
