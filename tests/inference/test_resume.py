"""A run that is killed, at whatever moment, and the runs after it, which end with the same bytes."""

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from unmingle.audio import temporary
from unmingle.errors import OutputError
from unmingle.inference import journal
from unmingle.inference.claim import claim
from unmingle.inference.handle import Model
from unmingle.inference.journal import Journal
from unmingle.inference.offline import separate_to_drafts, separate_to_files
from unmingle.inference.report import SeparationOptions
from unmingle.presets import TDANetConfig
from unmingle.voices import activity, looks

RATE = 8000
OPTIONS = SeparationOptions(window_seconds=3.0, overlap_seconds=0.5)

# One interpreter that forks: each child does the job until the moment where it kills itself; the last one does it all.
KILLED_AGAIN_AND_AGAIN = """
import hashlib, json, os, signal, sys
from pathlib import Path
import numpy as np
from unmingle.audio.renaming import Exchange
from unmingle.audio.writing import AudioWriter
from unmingle.inference.handle import Model
from unmingle.inference.inputs import Job
from unmingle.inference.jobs import Settings, attempt
from unmingle.inference.journal import Journal
from unmingle.inference.report import SeparationOptions
from unmingle.presets import TDANetConfig
from unmingle.voices import activity, looks

activity._silero = lambda: None  # it imports torch, in every child anew
looks.embed_stretches = lambda found: np.abs(found).reshape(len(found), 64, -1).mean(axis=2)  # quick, and no less exact
folder, moments = Path(sys.argv[1]), json.loads(sys.argv[2])
options = SeparationOptions(window_seconds=3.0, overlap_seconds=0.5)
calls = folder / "calls"


def network(mixture):
    with calls.open("a") as file:
        file.write("x")
    return np.stack([np.maximum(mixture, 0), np.minimum(mixture, 0)], axis=1)


def killing(function, after):
    def counted(*given, **more):
        nonlocal after
        after -= 1
        if after < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*given, **more)
    return counted


def do(job, moment):
    model = Model("halves", TDANetConfig(sample_rate=8000), engine=network)
    places = {"save": (Journal, "save"), "write": (AudioWriter, "write"), "rename": (Path, "replace")}
    if moment is not None and moment[0] == "network":
        model.engine = killing(network, moment[1])
    elif moment is not None and moment[0] == "named":  # so many of the files have their names
        carry_out = Exchange.carry_out

        def begin(*given):
            Path.replace = killing(Path.replace, moment[1])
            carry_out(*given)
            os.kill(os.getpid(), signal.SIGKILL)
        Exchange.carry_out = begin
    elif moment is not None:
        owner, name = places[moment[0]]
        setattr(owner, name, killing(getattr(owner, name), moment[1]))
    outcome = attempt(job, Settings(model, options, resume=True))
    return 0 if outcome.state in ("done", "skipped") else print(outcome.error) or 1


def forked(job, moment):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = do(job, moment)
        finally:
            sys.stdout.flush()
            os._exit(code)
    return os.waitpid(child, 0)[1]


job = Job(folder / "talk.wav", folder / "killed")
for moment in moments:
    assert os.WIFSIGNALED(forked(job, moment)), moment
    assert not job.sidecar.exists(), moment
assert forked(job, None) == 0
n_calls = len(calls.read_text())
calls.unlink()
whole = Job(folder / "talk.wav", folder / "whole")
assert forked(whole, None) == 0
files = [{path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in one.out_dir.iterdir()}
         for one in (job, whole)]
print(json.dumps({"files": files, "calls": [n_calls, len(calls.read_text())]}))
"""


@pytest.fixture
def talk(tmp_path, voices, monkeypatch):
    monkeypatch.setattr(journal, "WORTH_KEEPING_SECONDS", 6.0)
    monkeypatch.setattr(activity, "_silero", lambda: None)
    monkeypatch.setattr(looks, "embed_stretches", lambda found: np.abs(found).reshape(len(found), 64, -1).mean(axis=2))
    sf.write(tmp_path / "talk.wav", voices[:2, : 16 * RATE].sum(axis=0), RATE)
    return tmp_path / "talk.wav"


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_a_job_that_is_killed_at_any_moment_is_resumed_with_the_same_bytes(talk):
    random = np.random.default_rng(0)
    moments = [
        ("network", 3),
        ("save", 1),
        ("rename", 1),  # the state is written and does not have its name yet
        ("network", int(random.integers(2))),
        ("write", int(random.integers(1, 16))),
        ("named", 1),  # one of the two tracks has its name
        ("named", 3),  # both have theirs, and so has the list of who speaks when
    ]
    done = subprocess.run(
        [sys.executable, "-c", KILLED_AGAIN_AND_AGAIN, str(talk.parent), json.dumps(moments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    resumed, whole = said["files"]
    assert resumed == whole
    assert {"talk.separation.json", "talk_spk1.wav", "talk_spk2.wav"} <= set(whole)
    again, needed = said["calls"]
    assert again <= needed + len(moments) + 16


def halves(mixture):
    return np.stack([np.maximum(mixture, 0), np.minimum(mixture, 0)], axis=1)


def interrupted(talk, out_dir, *, after, options=OPTIONS, model=None, **settings):
    """Separate until so many seconds are done; returns what was reported first."""
    told = []

    def tell(done, total):
        told.append(done)
        if done > after:
            raise KeyboardInterrupt

    model = model or Model("halves", TDANetConfig(sample_rate=RATE), engine=halves)
    with suppress(KeyboardInterrupt):
        separate_to_files(talk, out_dir, model, options, progress=tell, **settings)
    return told[0]


def test_an_interruption_after_much_work_is_gone_on_from(talk, tmp_path):
    out = tmp_path / "out"
    assert interrupted(talk, out, after=9) == 0
    assert sorted(path.name for path in out.iterdir()) == [".talk.journal", ".talk.tracks.part"]
    later = SeparationOptions(window_seconds=3.0, overlap_seconds=0.5, gate=True)  # the network's work is the same
    assert interrupted(talk, out, after=99, options=later, resume=True) > 6
    assert sorted(path.name for path in out.iterdir()) == ["talk_spk1.wav", "talk_spk2.wav"]


def test_an_early_interruption_leaves_nothing(talk, tmp_path):
    interrupted(talk, tmp_path / "out", after=3)
    assert not (tmp_path / "out").exists()


def test_without_resume_all_is_done_anew(talk, tmp_path):
    interrupted(talk, tmp_path / "out", after=9)
    assert interrupted(talk, tmp_path / "out", after=99) == 0
    assert len(list((tmp_path / "out").iterdir())) == 2


@pytest.mark.parametrize("change", ["recording", "model", "window", "twice", "damage"])
def test_work_on_something_else_is_not_gone_on_with(talk, tmp_path, change, caplog):
    out, options, model = tmp_path / "out", OPTIONS, None
    interrupted(talk, out, after=9)
    if change == "recording":
        talk.touch()
    elif change == "model":
        model = Model("others", TDANetConfig(sample_rate=RATE), engine=halves)
    elif change == "window":
        options = SeparationOptions(window_seconds=4.0, overlap_seconds=0.5)
    elif change == "twice":
        options = SeparationOptions(window_seconds=3.0, overlap_seconds=0.5, twice=True)
    else:
        (out / ".talk.journal").write_bytes(b"not a journal")
    assert interrupted(talk, out, after=99, options=options, model=model, resume=True) == 0
    assert "begun anew" in caplog.text
    assert len(list(out.iterdir())) == 2


def test_tracks_shorter_than_the_journal_says_are_not_trusted(talk, tmp_path):
    interrupted(talk, tmp_path / "out", after=9)
    (tmp_path / "out" / ".talk.tracks.part").write_bytes(b"")
    assert interrupted(talk, tmp_path / "out", after=99, resume=True) == 0


@pytest.mark.skipif(temporary.locks is None, reason="this system has no locks on files")
def test_two_runs_do_not_work_on_the_same_results(talk, tmp_path):
    model = Model("halves", TDANetConfig(sample_rate=RATE), engine=halves)
    with (
        Journal.open(tmp_path, "talk", n_src=2, sample_rate=RATE, about={}, resume=False),
        pytest.raises(OutputError, match="by another run"),
    ):
        separate_to_files(talk, tmp_path, model, OPTIONS)
    with (
        claim(tmp_path / ".mark", overwrite=False),
        pytest.raises(OutputError, match="another run"),
        claim(tmp_path / ".mark", overwrite=False),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["talk.wav"]


@pytest.mark.parametrize(
    ("text", "replacing"),
    [
        ("", False),
        ('{"overwrite": false}', False),
        ('{"overwrite": true}', True),
        ('{"overwrite": true, "naming": 3}', True),
        ("{", False),
    ],
)
def test_a_mark_says_what_the_run_before_had_been_asked_to_do(tmp_path, text, replacing):
    mark = Path(tmp_path / ".mark")
    mark.write_text(text)
    with claim(mark, overwrite=False) as found:
        assert found.replacing is replacing
        assert json.loads(mark.read_text())["overwrite"] is replacing
    assert not mark.exists()


def test_work_is_kept_until_the_tracks_have_their_names(talk, tmp_path):
    out, model = tmp_path / "out", Model("halves", TDANetConfig(sample_rate=RATE), engine=halves)
    with (
        pytest.raises(OutputError, match="the report"),
        separate_to_drafts(talk, out, model, OPTIONS),
    ):
        raise OutputError("the report cannot be written")
    assert sorted(path.name for path in out.iterdir()) == [".talk.journal", ".talk.tracks.part"]
    assert interrupted(talk, out, after=99, resume=True) > 12  # all but the last window
