"""The end: nothing new is taken, what was accepted is finished, no file stays."""

import signal
import threading

import numpy as np
import pytest

RATE = 8000


def test_streams_get_what_is_owed_before_the_server_goes(serving, noise, offline, collect, refused, until):
    samples = [noise(700, seed) for seed in range(2)]
    with serving() as running, running.connect() as one, running.connect() as two:
        for stream, sound in zip((one, two), samples, strict=True):
            running.hello(stream)
            stream.send(sound.tobytes())
        until(lambda: "stream_block_seconds_count 2\n" in running.client.get("metrics").text)
        running.server.should_exit = True
        for stream, sound in zip((one, two), samples, strict=True):
            voices, words = collect(stream)
            assert words == {"type": "flushed", "samples": 700}
            np.testing.assert_allclose(voices, offline(sound), rtol=0, atol=1e-5)
            assert refused(stream)[0] == 1012
        running.stop()


def test_recordings_that_were_accepted_are_finished_and_others_refused(serving, held, wav, refused, until):
    with serving(model=held) as running:
        folder, answers = running.server._service._folder, []
        post = threading.Thread(
            target=lambda: answers.append(running.client.post("v1/separate", files={"file": ("a.wav", wav(0.2))}))
        )
        post.start()
        assert held.engine.begun.wait(10)
        running.server.should_exit = True
        until(lambda: running.client.get("healthz").status_code == 503)
        late = running.client.post("v1/separate", files={"file": ("b.wav", wav(0.2))})
        assert (late.status_code, "going down" in late.json()["error"]) == (503, True)
        with running.connect() as stream:
            assert refused(stream)[0] == 1012
        held.engine.on.set()
        post.join(20)
        running.stop()
    assert [answer.status_code for answer in answers] == [200]
    assert not folder.exists()


def test_patience_has_an_end(serving, noise):
    with serving(grace_seconds=0.0) as running, running.connect() as stream:
        running.hello(stream)
        stream.send(noise(100).tobytes())
        folder = running.server._service._folder
        running.stop()
    assert not folder.exists()


def test_a_second_signal_ends_at_once(serving, held, wav, until):
    with serving(model=held) as running:
        broken = []
        post = threading.Thread(
            target=lambda: broken.append(running.client.post("v1/separate", files={"file": ("a.wav", wav(0.2))}))
        )
        post.start()
        assert held.engine.begun.wait(10)
        for _ in range(2):
            running.server.handle_exit(signal.SIGINT, None)
        post.join(20)  # while the engine still works
        held.engine.on.set()
        running.stop()
    assert [answer.status_code for answer in broken] == [503]
    assert "given up" in broken[0].json()["error"]


def test_a_port_that_is_taken_is_said_so(serving):
    from unmingle.errors import ConfigError
    from unmingle.serve.server import bind
    from unmingle.serve.settings import ServeSettings

    with bind(ServeSettings(port=0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen at 127.0.0.1:{port}"):
            bind(ServeSettings(port=port))
