"""Who may come in."""

import math

import pytest

from unmingle.errors import ConfigError
from unmingle.serve.access import Access
from unmingle.serve.settings import ServeSettings, new_token

TOKEN = "a-token-of-some-length"


@pytest.fixture(scope="module")
def locked(serving):
    with serving(token=TOKEN) as running:
        yield running


OFFERS = {
    "a header": {"additional_headers": {"Authorization": f"Bearer {TOKEN}"}},
    "a subprotocol": {"subprotocols": ["unmingle", f"token.{TOKEN}"]},
    "the address": {"path": f"v1/stream?token={TOKEN}"},
}
WRONG = {
    "none": {},
    "another": {"additional_headers": {"Authorization": "Bearer another-token-of-length"}},
    "a beginning": {"subprotocols": ["unmingle", f"token.{TOKEN[:-1]}"]},
    "nothing": {"path": "v1/stream?token="},
}


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
def test_a_stream_shows_the_token_in_one_of_three_places(locked, offer):
    with locked.connect(**offer) as stream:
        assert locked.hello(stream)["type"] == "ready"
        assert stream.subprotocol == ("unmingle" if "subprotocols" in offer else None)


@pytest.mark.parametrize("offer", WRONG.values(), ids=WRONG)
def test_a_stream_without_the_token_is_closed(locked, refused, offer):
    with locked.connect(**offer) as stream:
        code, message = refused(stream)
    assert code == 1008
    assert "token" in message
    assert TOKEN not in message


@pytest.mark.parametrize("path", ["v1/models", "metrics", "v1/separations/x", "v1/nothing"])
def test_requests_want_the_token(locked, path):
    for headers in ({}, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": f"Basic {TOKEN}"}):
        answer = locked.client.get(path, headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert "token" in answer.json()["error"]
    assert locked.client.get(path, headers={"Authorization": f"bearer {TOKEN}"}).status_code in (200, 404)


def test_an_upload_without_the_token_is_not_read(locked, wav):
    answer = locked.client.post("v1/separate", files={"file": ("a.wav", wav(0.2))})
    assert answer.status_code == 401


@pytest.mark.parametrize("path", ["", "page.css", "healthz"])
def test_the_page_and_the_health_need_no_token(locked, path):
    assert locked.client.get(path).status_code == 200


def test_other_pages_and_other_names_of_this_machine_may_not(running, refused):
    host = running.url.removeprefix("http://").strip("/")
    for headers in ({"Origin": "https://elsewhere.example"}, {"Origin": "null"}, {"Host": "rebound.example"}):
        assert running.client.get("v1/models", headers=headers).status_code == 403
    assert running.client.get("v1/models", headers={"Origin": f"http://{host}"}).status_code == 200
    with running.connect(additional_headers={"Origin": "https://elsewhere.example"}) as stream:
        code, message = refused(stream)
    assert (code, "elsewhere.example" in message) == (1008, True)


@pytest.mark.parametrize("address", ["[::1", "[", "[x]", "a\u2100b"])
def test_what_is_no_address_is_no_name_of_this_machine(address):
    access = Access(ServeSettings())
    for headers in ({"host": address}, {"host": "localhost", "origin": f"http://{address}"}):
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        assert access.refusal({"type": "http", "headers": raw}).status == 403


def test_a_server_that_others_can_reach_wants_a_token():
    for host in ("0.0.0.0", "192.168.1.5", "::", "voices.example"):
        with pytest.raises(ConfigError, match="no token is set"):
            ServeSettings(host=host)
        assert not ServeSettings(host=host, token=new_token()).loopback
    for host in ("127.0.0.1", "localhost", "::1", "127.0.0.9"):
        assert ServeSettings(host=host).loopback


@pytest.mark.parametrize("token", ["short", "x" * 300, "with a space in the middle", "ümläute-are-no-header"])
def test_a_token_is_long_and_plain(token):
    with pytest.raises(ConfigError, match="16 to 200"):
        ServeSettings(token=token)


@pytest.mark.parametrize(
    "wrong",
    [{"max_streams": 0}, {"idle_seconds": -1.0}, {"keep_seconds": math.inf}, {"port": 70_000}, {"max_waiting": -1}],
)
def test_limits_that_cannot_be_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        ServeSettings(**wrong)
