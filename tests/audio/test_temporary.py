import os
import signal
import subprocess
import sys

import pytest

from unmingle.audio import temporary
from unmingle.audio.temporary import Hold, hold_temporary, sweep

pytestmark = pytest.mark.skipif(temporary.locks is None, reason="this system has no locks on files")


def test_a_file_in_use_is_not_swept(tmp_path):
    held = hold_temporary(tmp_path)
    sweep(tmp_path)
    assert held.path.exists()
    with pytest.raises(BlockingIOError):
        Hold(held.path)
    held.release()
    held.release()
    sweep(tmp_path)
    assert not list(tmp_path.iterdir())


def test_other_files_are_not_swept(tmp_path):
    for name in (".unmingle-settings", "unmingle-1.tmp", ".hidden.tmp"):
        (tmp_path / name).touch()
    sweep(tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def test_what_a_killed_process_leaves_is_swept(tmp_path):
    code = f"""
import sys, time
from unmingle.audio.writing import AudioWriter
writer = AudioWriter({str(tmp_path / "a.wav")!r}, 8000)
print("open", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        sweep(tmp_path)
        assert len(list(tmp_path.iterdir())) == 1
        os.kill(child.pid, signal.SIGKILL)
    assert len(list(tmp_path.iterdir())) == 1
    sweep(tmp_path)
    assert not list(tmp_path.iterdir())
