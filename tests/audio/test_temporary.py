import os
import signal
import subprocess
import sys

import pytest

from unmingle.audio import temporary
from unmingle.audio.temporary import Hold, hold_temporary, sweep, whole
from unmingle.errors import OutputError

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


def test_a_file_gets_its_name_when_it_is_whole(tmp_path):
    target = tmp_path / "new" / "a.txt"
    with whole(target, make_folder=True) as draft:
        draft.write_text("half")
        sweep(target.parent)
        assert not target.exists()
        draft.write_text("all")
    assert [path.read_text() for path in target.parent.iterdir()] == ["all"]


def test_what_goes_wrong_leaves_what_was_there(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("before")
    with pytest.raises(KeyboardInterrupt), whole(target):
        raise KeyboardInterrupt
    with pytest.raises(OutputError, match=r"a\.txt cannot be written \(No space left"), whole(target):
        raise OSError(28, "No space left on device")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]
    with pytest.raises(OutputError, match=r"b\.txt cannot be written"), whole(tmp_path / "no" / "b.txt"):
        raise AssertionError


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
