"""Live streams over a real socket: never mixed, never without a bound, always with an answer."""

import contextlib
import json
import socket
import struct
import threading
import time

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed

RATE = 8000


def frames(samples, sizes):
    """Cut samples into frames of these sizes, over and over."""
    start, number = 0, 0
    while start < samples.size:
        size = sizes[number % len(sizes)]
        yield samples[start : start + size].astype("<f4").tobytes()
        start, number = start + size, number + 1


def test_the_answer_to_hello_says_how_late_and_how_large(running):
    with running.connect() as stream:
        answer = running.hello(stream, n_src=2)
    assert answer["type"] == "ready"
    assert (answer["n_src"], answer["sample_rate"], answer["format"]) == (2, RATE, "f32le")
    assert answer["latency_samples"] == 256
    assert answer["block_samples"] == 128


def test_streams_at_the_same_time_give_each_what_it_would_get_alone(running, noise, offline, collect):
    wanted = {seed: (8000 if seed % 2 else 16_000, noise(1200 + 100 * seed, seed)) for seed in range(4)}
    got = {}

    def talk(seed):
        rate, samples = wanted[seed]
        with running.connect() as stream:
            assert running.hello(stream, sample_rate=rate)["type"] == "ready"
            for frame in frames(samples, [37, 411, 128, 1][seed:] or [5]):
                stream.send(frame)
            stream.send("flush")
            got[seed] = collect(stream)

    threads = [threading.Thread(target=talk, args=(seed,)) for seed in wanted]
    for one in threads:
        one.start()
    for one in threads:
        one.join(30)
    for seed, (rate, samples) in wanted.items():
        voices, words = got[seed]
        assert words == {"type": "flushed", "samples": samples.size}
        np.testing.assert_allclose(voices, offline(samples, rate), rtol=0, atol=1e-5)


def test_integers_come_back_as_integers_interleaved(running, noise, offline, collect):
    coded = np.rint(noise(700) * 32768).astype("<i2")
    with running.connect() as stream:
        stream.send(json.dumps({"sample_rate": RATE}))
        assert json.loads(stream.recv(5))["format"] == "s16le"
        stream.send(coded.tobytes())
        stream.send('{"type": "flush"}')
        voices, _ = collect(stream, "<i2")
    wanted = offline(coded.astype(np.float32) / 32768)
    np.testing.assert_allclose(voices / 32768, wanted, rtol=0, atol=1.1 / 32768)


def test_reset_begins_anew_and_forgets_everything(running, noise, offline, collect):
    with running.connect() as stream:
        running.hello(stream)
        stream.send(noise(900, seed=1).tobytes())
        stream.send("reset")
        _, words = collect(stream)
        assert words == {"type": "reset"}
        for seed in (2, 3):
            stream.send(noise(500, seed).tobytes())
            stream.send("flush")
            voices, words = collect(stream)
            assert words["samples"] == 500
            np.testing.assert_allclose(voices, offline(noise(500, seed)), rtol=0, atol=1e-5)
            stream.send("reset")
            assert json.loads(stream.recv(5)) == {"type": "reset"}


def test_samples_that_are_no_numbers_count_as_silence_and_are_told(running, noise, offline, collect):
    samples = noise(600)
    holed = samples.copy()
    holed[100:103], samples[100:103] = (np.nan, np.inf, -np.inf), 0
    with running.connect() as stream:
        running.hello(stream)
        stream.send(holed.tobytes())
        first, words = collect(stream)
        assert words == {"type": "replaced", "samples": 3, "before": 600}
        stream.send("flush")
        rest, _ = collect(stream)
    np.testing.assert_allclose(np.concatenate([first, rest], axis=1), offline(samples), rtol=0, atol=1e-5)


BAD_HELLOS = {
    "no JSON": ("hello", "no JSON object"),
    "no object": ("[8000]", "no JSON object"),
    "deeply nested": ("[" * 3000, "no JSON object"),
    "no rate": ("{}", "names no sample_rate"),
    "an unknown key": ('{"sample_rat": 8000}', "did you mean 'sample_rate'"),
    "a word for a rate": ('{"sample_rate": "8000"}', "wanted a number"),
    "a truth for a rate": ('{"sample_rate": true}', "wanted a number"),
    "a rate of nobody's": ('{"sample_rate": 7}', "4000 to 384000"),
    "a huge rate": ('{"sample_rate": 1' + "0" * 30 + "}", "4000 to 384000"),
    "another coding": ('{"sample_rate": 8000, "format": "mp3"}', "s16le or f32le"),
    "too many speakers": ('{"sample_rate": 8000, "n_src": 3}', "separates 2 speakers"),
    "another policy": ('{"sample_rate": 8000, "when_late": "hurry"}', "wait or drop"),
}


@pytest.mark.parametrize(("hello", "sentence"), BAD_HELLOS.values(), ids=BAD_HELLOS)
def test_a_hello_that_makes_no_sense_is_answered_and_closed(running, refused, hello, sentence):
    with running.connect() as stream:
        stream.send(hello)
        code, message = refused(stream)
    assert code == 1007
    assert sentence in message


def test_a_hello_of_a_novel_s_length_is_not_read(running, refused):
    with running.connect() as stream:
        stream.send(json.dumps({"sample_rate": 8000, "format": "s" * 5000}))
        assert refused(stream)[0] == 1009


AFTER_HELLO = {
    "half a sample": (b"\0" * 6, 1007, "6 bytes"),
    "a huge frame": (b"\0" * (1 << 21), 1009, "at most"),
    "an unknown word": ("stop", 1007, "flush and reset"),
    "JSON of another type": ('{"type": ["flush"]}', 1007, "flush and reset"),
}


@pytest.mark.parametrize(("message", "code", "sentence"), AFTER_HELLO.values(), ids=AFTER_HELLO)
def test_a_message_that_makes_no_sense_is_answered_and_closed(running, refused, message, code, sentence):
    with running.connect() as stream:
        running.hello(stream)
        stream.send(message)
        got, words = refused(stream)
    assert got == code
    assert sentence in words


def test_sound_before_the_hello_is_answered_and_closed(running, refused):
    with running.connect() as stream:
        stream.send(b"\0" * 8)
        assert refused(stream)[0] == 1003


def test_sound_after_flush_is_answered_and_closed(running, refused, noise):
    with running.connect() as stream:
        running.hello(stream)
        stream.send("flush")
        stream.send(noise(10).tobytes())
        code, message = refused(stream)
    assert code == 1008
    assert "send reset" in message


def test_sudden_ends_leave_room_and_harm_nobody(running, noise, offline, collect, until):
    with running.connect() as steady:
        running.hello(steady)
        for number in range(4):
            with running.connect() as stream:
                running.hello(stream)
                stream.send(noise(300, number).tobytes())
                if number % 2:  # a reset instead of an end
                    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                stream.close_socket()
        samples = noise(800, seed=9)
        steady.send(samples.tobytes())
        steady.send("flush")
        voices, _ = collect(steady)
    np.testing.assert_allclose(voices, offline(samples), rtol=0, atol=1e-5)
    until(lambda: "unmingle_streams_open 0\n" in running.client.get("metrics").text)


def test_too_many_streams_are_told_to_come_later(serving, refused, until):
    with serving(max_streams=1) as running:
        with running.connect() as first:
            running.hello(first)
            with running.connect() as second:
                code, message = refused(second)
        assert (code, "try again later" in message) == (1013, True)
        until(lambda: "unmingle_streams_open 0\n" in running.client.get("metrics").text)
        with running.connect() as third:
            assert running.hello(third)["type"] == "ready"


def test_whoever_says_nothing_is_let_go(serving, refused):
    with serving(idle_seconds=0.3) as running:
        host, port = running.url.removeprefix("http://").strip("/").split(":")
        with (
            running.connect() as mute,
            running.connect() as tired,
            socket.create_connection((host, int(port))) as nothing_at_all,
        ):
            running.hello(tired)
            for stream in (mute, tired):
                code, message = refused(stream)
                assert (code, "nothing came for 0.3 seconds" in message) == (1008, True)
            nothing_at_all.settimeout(5)
            assert nothing_at_all.recv(1) == b""


def test_a_client_that_does_not_read_holds_back_itself_alone_and_is_let_go(serving, noise, until, monkeypatch):
    monkeypatch.setattr("unmingle.serve.server._FAREWELL_SECONDS", 0.2)
    small = (socket.SO_SNDBUF, 4096)
    with (
        serving(idle_seconds=0.5, sockopts=small, queue_seconds=0.2) as running,
        running.connect(max_queue=1, close_timeout=0.1) as stream,
    ):
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        running.hello(stream)
        sending = threading.Thread(target=pour, args=(stream, noise(1 << 16).tobytes()))
        sending.start()
        until(lambda: 'refusals_total{code="1008"} 1' in running.client.get("metrics").text, 20)
        until(lambda: "unmingle_streams_open 0\n" in running.client.get("metrics").text)
        sending.join(20)  # the server has hung up, though nobody read its close
        assert not sending.is_alive()


def pour(stream, data):
    with contextlib.suppress(ConnectionClosed, OSError):
        for _ in range(40):
            stream.send(data)


def test_sound_that_comes_too_fast_is_dropped_and_told_where_that_was_asked_for(serving, noise, until):
    with serving(queue_seconds=0.1) as running, running.connect() as stream:
        assert running.hello(stream, when_late="drop")["queue_samples"] == 800
        sound, began = noise(400).tobytes(), time.monotonic()
        dropped = samples = sent = 0
        while not dropped and time.monotonic() < began + 10:
            for _ in range(20):
                stream.send(sound)
                sent += 400
            with contextlib.suppress(TimeoutError):
                while True:
                    message = stream.recv(0.001)
                    words = {} if isinstance(message, bytes) else json.loads(message)
                    dropped += words.get("samples", 0)
        stream.send("flush")
        while True:
            message = stream.recv(10)
            if isinstance(message, bytes):
                continue
            words = json.loads(message)
            if words["type"] == "flushed":
                samples = words["samples"]
                break
            dropped += words["samples"]
    assert dropped > 0
    assert dropped + samples == sent


def test_a_server_without_a_streaming_model_says_so(serving, refused):
    with serving(stream_model=None) as running:
        with running.connect() as stream:
            code, message = refused(stream)
        assert (code, "--stream-model" in message) == (1011, True)
        assert "--stream-model" in running.client.get("v1/models").json()["streaming_off"]
