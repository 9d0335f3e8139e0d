import errno
import json
import os
from pathlib import Path

import pytest

from unmingle.audio.renaming import Exchange, rename_together
from unmingle.errors import OutputError

OLD = {"a": "old a", "outdated": "old"}
NEW = {"a": "new a", "b": "new b"}


@pytest.fixture
def drafts(tmp_path):
    for name, text in OLD.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "made").mkdir()
    pairs = [(tmp_path / "made" / name, tmp_path / name) for name in NEW]
    for draft, target in pairs:
        draft.write_text(NEW[target.name])
    return pairs


def texts(folder):
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def no_links(*_given, **_more):
    raise OSError(errno.EPERM, "no links here")


def exchange(drafts, tmp_path):
    planned = Exchange.plan(drafts, outdated=[tmp_path / "outdated", tmp_path / "never there"])
    planned.carry_out(drafts)
    planned.settle()


@pytest.mark.parametrize("links", [True, False])
def test_all_new_files_are_there_in_the_end(drafts, tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    (tmp_path / ".a.before").write_text("left by a process that was killed")
    exchange(drafts, tmp_path)
    assert texts(tmp_path) == NEW


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("moment", [0, 1, 2, 3])
@pytest.mark.parametrize("error", [OSError(errno.EIO, "the disk fails"), KeyboardInterrupt()])
def test_an_error_at_any_moment_leaves_all_old_files_as_they_were(drafts, tmp_path, monkeypatch, links, moment, error):
    calls = 0

    def failing(function):
        def counted(*given, **more):
            nonlocal calls
            calls += 1
            if calls == moment + 1:
                raise error
            return function(*given, **more)

        return counted

    backups = 0 if isinstance(error, OSError) and links else 2  # a link that cannot be made is no failure
    monkeypatch.setattr(os, "link", failing(os.link) if links and backups else os.link if links else no_links)
    monkeypatch.setattr(Path, "replace", failing(Path.replace))
    if moment < backups + len(drafts):
        with pytest.raises((OutputError, KeyboardInterrupt)):
            exchange(drafts, tmp_path)
        assert texts(tmp_path) == OLD
    else:
        exchange(drafts, tmp_path)
        assert texts(tmp_path) == NEW


@pytest.mark.parametrize("links", [True, False])
def test_what_a_killed_process_renamed_is_put_back_by_a_later_one(drafts, tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    planned = Exchange.plan(drafts, outdated=[tmp_path / "outdated"])
    noted = json.loads(json.dumps(planned.to_dict()))
    planned.carry_out(drafts)  # and is killed before it says that all is done
    for _ in range(2):
        Exchange.from_dict(noted, tmp_path).undo()
        assert texts(tmp_path) == OLD


def test_files_that_somebody_put_there_since_are_not_undone(drafts, tmp_path):
    planned = Exchange.plan(drafts)
    planned.carry_out(drafts)
    for name in NEW:
        (tmp_path / name).write_text("somebody else's")
    planned.undo()
    assert texts(tmp_path) == {"a": "somebody else's", "b": "somebody else's", "outdated": "old"}


def test_files_of_several_folders_get_their_names(drafts, tmp_path):
    (tmp_path / "other").mkdir()
    rename_together([drafts[0], (drafts[1][0], tmp_path / "other" / "b")])
    assert texts(tmp_path)["a"] == NEW["a"]
    assert texts(tmp_path / "other") == {"b": NEW["b"]}
