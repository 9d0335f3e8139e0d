"""Recordings over a real socket: tracks back, limits held, nothing left behind."""

import errno
import io
import json
import re
import socket
import threading
import zipfile

import httpx
import numpy as np
import pytest
import soundfile as sf

RATE = 8000


def expected(model, data, path):
    from unmingle.inference.offline import separate_file

    path.write_bytes(data)
    return separate_file(path, model).estimates


def test_a_zip_holds_the_tracks_and_the_report_and_leaves_nothing(running, separator, wav, tmp_path, until):
    data = wav()
    answer = running.post(data)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == ["talk.separation.json", "talk_spk1.wav", "talk_spk2.wav"]
        report = json.loads(archive.read("talk.separation.json"))
        tracks = np.stack([sf.read(io.BytesIO(archive.read(name)))[0] for name in archive.namelist()[1:]])
    assert (report["model"], report["input"]) == ("tiny", {"name": "talk.wav"})
    np.testing.assert_allclose(tracks, expected(separator, data, tmp_path / "talk.wav"), rtol=0, atol=1e-4)
    until(lambda: not running.leftovers())


def test_json_links_to_the_tracks_until_they_are_removed(running, wav):
    answer = running.post(
        wav(), headers={"Accept": "application/json"}, format="flac", keep_residual="true", twice="true"
    )
    report = answer.json()
    assert [track["name"] for track in report["tracks"]] == ["spk1", "spk2", "residual"]
    for track in report["tracks"]:
        fetched = running.client.get(track["url"])
        assert len(fetched.content) == track["bytes"]
        assert fetched.content[:4] == b"fLaC"
        assert f"talk_{track['name']}.flac" in fetched.headers["content-disposition"]
    own = f"v1/separations/{report['id']}"
    assert running.client.get(own).json() == report
    assert "spk1, spk2, residual" in running.client.get(f"{own}/spk9").json()["error"]
    assert running.client.get(f"{own}/..%2f..%2fetc").status_code == 404
    assert running.client.delete(own).status_code == 204
    for gone in (own, report["tracks"][0]["url"]):
        assert running.client.get(gone).status_code == 404
    assert not running.leftovers()


def test_links_expire_and_their_files_go(serving, wav, until):
    with serving(keep_seconds=0.3) as running:
        url = running.post(wav(), answer="json").json()["tracks"][0]["url"]
        until(lambda: running.client.get(url).status_code == 404)
        assert not running.leftovers()


ODD_NAMES = {
    "../../etc/passwd.wav": "passwd",
    "..\\..\\windows\\system.wav": "system",
    "/absolute.wav": "absolute",
    ".hidden.wav": "hidden",
    "..": "recording",
    "": "recording",
    "new\nline\x00.wav": "new_line_",
    "ein Gespräch.wav": "ein Gespräch",
    "a" * 300 + ".wav": "a" * 40,
    "script.sh": "script",
}


@pytest.mark.parametrize(("name", "stem"), ODD_NAMES.items(), ids=range(len(ODD_NAMES)))
def test_a_file_s_name_leads_nowhere(name, stem):
    from unmingle.serve.uploads import safe_name

    safe = safe_name(name)
    assert safe.removesuffix(".wav") == stem
    assert not re.search(r"[/\\\x00]", safe)


def test_a_name_full_of_tricks_stays_in_its_folder(running, wav):
    report = running.post(wav(0.3), name="../../../tricky/..\\x.wav", answer="json").json()
    assert [track["path"] for track in report["tracks"]] == ["x_spk1.wav", "x_spk2.wav"]
    assert all(running.folder in path.parents for path in running.leftovers())
    running.client.delete(f"v1/separations/{report['id']}")


BAD_FORMS = {
    "no sound": ({}, b"no sound at all", 415, "talk.wav is not an audio or video file"),
    "silence of no length": ({}, b"", 415, "talk.wav is empty"),
    "no truth": ({"gate": "perhaps"}, None, 422, "true or false"),
    "a number without end": ({"n_src": "9" * 5000}, None, 422, "a number of speakers"),
    "no number": ({"level_dbfs": "loud"}, None, 422, "a number such as -26"),
    "too loud": ({"level_dbfs": "40"}, None, 422, "between -60 and 0"),
    "another format": ({"format": "mp3"}, None, 422, "wav or flac"),
    "an unknown field": ({"gat": "true"}, None, 422, "did you mean 'gate'"),
}


@pytest.mark.parametrize(("fields", "data", "status", "sentence"), BAD_FORMS.values(), ids=BAD_FORMS)
def test_what_cannot_be_separated_is_refused_in_words(running, wav, fields, data, status, sentence):
    answer = running.post(wav(0.2) if data is None else data, **fields)
    assert answer.status_code == status
    assert answer.json()["status"] == status
    assert sentence in answer.json()["error"]
    assert str(running.folder) not in answer.text
    assert not running.leftovers()


def test_what_is_no_form_is_refused_in_words(running):
    for send, status in (
        ({"json": {"file": "talk.wav"}}, 415),
        ({"files": {"recording": b"x"}}, 422),
        ({"content": b"nonsense", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}, 400),
        ({"content": b"nonsense", "headers": {"Content-Type": "multipart/form-data"}}, 400),
        ({"data": {"file": "talk.wav"}, "files": {"gate": (None, "true")}}, 422),
    ):
        answer = running.client.post("v1/separate", **send)
        assert (answer.status_code, answer.json()["status"]) == (status, status)
        assert answer.json()["error"]


@pytest.mark.parametrize("declared", [True, False], ids=["that says so", "that does not"])
def test_an_upload_that_is_too_large_is_refused(serving, declared):
    with serving(max_upload_bytes=100_000) as running:
        data = b"\0" * 1_000_000
        if declared:
            answer = running.post(data)
        else:
            parts = (data[start : start + 50_000] for start in range(0, len(data), 50_000))
            kind = {"Content-Type": "multipart/form-data; boundary=x"}
            head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
            answer = running.client.post("v1/separate", content=iter([head, *parts]), headers=kind)
        assert answer.status_code == 413
        assert "100000 bytes" in answer.json()["error"]
        assert not running.leftovers()


def test_a_recording_that_is_too_long_is_refused(serving, wav):
    with serving(max_sound_seconds=0.2) as running:
        answer = running.post(wav(0.5))
        assert answer.status_code == 413
        assert "at most 0.2 s" in answer.json()["error"]


def test_a_voice_whose_file_does_not_say_how_long_it_is_may_not_be_longer_either(serving, wav):
    held = io.BytesIO()
    sf.write(held, np.random.default_rng(0).uniform(-0.1, 0.1, 32_000), 16_000, format="MP3")
    silent = held.getvalue().replace(b"Info", bytes(4)).replace(b"Xing", bytes(4))
    with serving(max_sound_seconds=0.5) as running:
        answer = running.post(wav(0.3), voices={"anna": silent})
        assert answer.status_code == 413
        assert "at most 0.5 s" in answer.json()["error"]


def test_an_upload_that_cannot_be_stored_is_refused_in_words(running, wav, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("unmingle.serve.uploads.shutil.copyfileobj", full)
    answer = running.post(wav(0.2))
    assert answer.status_code == 507
    assert "no room for talk.wav (No space left on device)" in answer.json()["error"]
    assert not running.leftovers()


def test_an_upload_that_stops_coming_is_let_go(serving):
    with serving(idle_seconds=0.3) as running:
        host, port = running.url.removeprefix("http://").strip("/").split(":")
        with socket.create_connection((host, int(port))) as slow:
            slow.settimeout(5)
            head = f"POST /v1/separate HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 1000\r\n"
            slow.sendall((head + "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x").encode())
            assert slow.recv(1000).startswith(b"HTTP/1.1 408")
        assert "separations_accepted 0\n" in running.client.get("metrics").text


def test_only_so_many_recordings_are_taken_at_once_and_the_server_answers_meanwhile(serving, held, wav):
    with serving(model=held, n_separations=1, max_waiting=1) as running:
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(running.post(wav(0.2)))) for _ in range(2)]
        for one in threads:
            one.start()
        assert held.engine.begun.wait(10)
        while "separations_accepted 2\n" not in running.client.get("metrics").text:
            pass
        assert running.client.get("healthz").status_code == 200
        refused = running.post(wav(0.2))
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")
        assert "try again later" in refused.json()["error"]
        held.engine.on.set()
        for one in threads:
            one.join(20)
        assert [answer.status_code for answer in answers] == [200, 200]


def test_results_that_nobody_fetches_do_not_fill_the_disk(serving, wav):
    with serving(max_kept=1) as running:
        first = running.post(wav(0.2), answer="json").json()
        assert running.post(wav(0.2)).status_code == 503
        running.client.delete(f"v1/separations/{first['id']}")
        assert running.post(wav(0.2)).status_code == 200


def test_work_for_somebody_who_has_gone_is_given_up(serving, held, wav, until):
    with serving(model=held) as running:
        with pytest.raises(httpx.ReadTimeout):
            running.client.post("v1/separate", files={"file": ("a.wav", wav(0.2))}, timeout=0.5)
        held.engine.on.set()
        until(lambda: 'separations_total{outcome="abandoned"} 1' in running.client.get("metrics").text)
        until(lambda: not running.leftovers())


def test_the_server_tells_about_itself(running):
    described = running.client.get("v1/models").json()
    assert [(model["name"], model["serves"]) for model in described["models"]] == [
        ("tiny", "separate"),
        ("tiny-live", "stream"),
    ]
    assert described["limits"]["streams"] == 6
    assert running.client.get("healthz").json()["status"] == "ok"
    form = running.client.get("openapi.json").json()["paths"]["/v1/separate"]["post"]["requestBody"]["content"]
    assert form["multipart/form-data"]["schema"]["required"] == ["file"]
    metrics = running.client.get("metrics")
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    for line in metrics.text.splitlines():
        assert re.fullmatch(r"# (HELP|TYPE) unmingle_\w+ .+|unmingle_\w+(\{\w+=\"[^\"]*\"\})? [0-9.e+-]+|", line), line


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "nothing", 404), ("POST", "v1/models", 405)])
def test_an_address_that_is_none_is_an_error_like_every_other(running, method, path, status):
    answer = running.client.request(method, path)
    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert f"{method} /{path} is no address" in answer.json()["error"]


def test_the_page_may_load_nothing_from_elsewhere(running):
    page = running.client.get("")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    names = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert names
    for name in [*names, "live.js", "recording.js", "server.js", "draw.js", "worklets.js"]:
        text = running.client.get(name)
        assert text.status_code == 200
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text.text)
    assert running.client.get("..%2fapp.py").status_code == 404
