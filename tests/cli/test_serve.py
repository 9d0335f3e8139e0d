"""`unmingle serve`: what it refuses, what it prints, how it ends."""

import os
import signal
import socket
import threading
import time

import httpx
import pytest

from unmingle.cli import serve
from unmingle.inference import handle


@pytest.fixture
def port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def talk_and_end(url, answers, paths=("healthz", "v1/models"), number=signal.SIGTERM):
    """In a thread: wait for the server, ask it, and tell this process to end."""

    def work():
        with httpx.Client(base_url=url, trust_env=False) as client:
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                try:
                    answers.extend(client.get(path) for path in paths)
                    break
                except httpx.TransportError:
                    time.sleep(0.02)
        if answers:  # else the command has ended by itself, and nobody listens to signals
            os.kill(os.getpid(), number)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_server_answers_until_it_is_told_to_end(cli, tiny, port, number):
    url, answers = f"http://127.0.0.1:{port}/", []
    thread = talk_and_end(url, answers, number=number)
    ran = cli("serve", "-m", tiny, "--port", port)
    thread.join()
    assert ran.code == 0, ran.err
    assert ran.out == f"{url}\n"
    assert "recordings: tiny" in ran.err
    assert ran.err.endswith("finishing what was accepted; a second Ctrl-C ends at once\nthe server has ended\n")
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[1].json()["models"][0]["name"] == "tiny"
    assert "Traceback" not in ran.err


def test_a_token_that_is_made_is_printed_as_part_of_the_address(cli, tiny, port):
    answers = []
    thread = talk_and_end(f"http://127.0.0.1:{port}/", answers)
    ran = cli("serve", "-m", tiny, "--port", port, "--token", "new", "--host", "0.0.0.0")
    thread.join()
    assert ran.code == 0, ran.err
    address, _, token = ran.out.strip().partition("#token=")
    assert address == f"http://0.0.0.0:{port}/"
    assert len(token) == 32
    assert [answer.status_code for answer in answers] == [200, 401]


def test_a_server_that_others_can_reach_wants_a_token(cli, tiny, monkeypatch):
    monkeypatch.delenv("UNMINGLE_TOKEN", raising=False)
    ran = cli("serve", "-m", tiny, "--host", "0.0.0.0")
    assert ran.code == 2
    assert "Error: Invalid value: 0.0.0.0 can be reached from other machines, and no token is set" in ran.err


def test_the_token_of_the_environment_is_checked_too(cli, tiny, monkeypatch):
    monkeypatch.setenv("UNMINGLE_TOKEN", "short")
    ran = cli("serve", "-m", tiny)
    assert ran.code == 2
    assert "the token has 5 characters" in ran.err
    assert "short;" not in ran.err


def test_a_model_that_does_not_stream_is_refused_before_anything_listens(cli, tiny):
    ran = cli("serve", "-m", tiny, "--stream-model", tiny, "--port", 0)
    assert ran.code == 1
    assert "stream" in ran.err
    assert ran.out == ""


def test_the_model_for_live_sound_is_loaded_where_it_shall_run(tiny, monkeypatch):
    asked, load = [], handle.load_model
    monkeypatch.setattr(handle, "load_model", lambda name, *, device: asked.append((name, device)) or load(name))
    serve._models(str(tiny), "tfacm-8k", "cuda:1", 1)
    serve._models(str(tiny), None, "cuda:1", 1)
    assert asked == [("tfacm-8k", "cuda:1")] * 2


def test_a_port_that_is_taken_is_one_message(cli, tiny):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        ran = cli("serve", "-m", tiny, "--port", number)
    assert ran.code == 1
    assert f"cannot listen at 127.0.0.1:{number}" in ran.err


def test_a_missing_package_names_the_extra(cli, monkeypatch):
    monkeypatch.setattr("unmingle.cli.serve.find_spec", lambda name: None)
    ran = cli("serve")
    assert ran.code == 1
    assert "pip install 'unmingle[serve]'" in ran.err


def test_ui_opens_the_page_of_a_server_for_this_machine_alone(cli, tiny, port, monkeypatch):
    opened, answers = [], []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    thread = talk_and_end(f"http://127.0.0.1:{port}/", answers, paths=("",))
    ran = cli("ui", "-m", tiny, "--port", port)
    thread.join()
    assert ran.code == 0, ran.err
    assert opened == [f"http://127.0.0.1:{port}/"]
    assert "<title>unmingle</title>" in answers[0].text


def test_ui_leaves_the_browser_alone_when_asked(cli, tiny, port, monkeypatch):
    monkeypatch.setattr("webbrowser.open", lambda address: pytest.fail(address))
    thread = talk_and_end(f"http://127.0.0.1:{port}/", [])
    ran = cli("ui", "-m", tiny, "--port", port, "--no-browser")
    thread.join()
    assert ran.code == 0, ran.err
    assert "open this address in a browser" in ran.err
