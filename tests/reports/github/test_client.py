"""The adapter against a server on loopback that cuts, delays, limits and refuses."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from matrix.errors import ConfigurationError, OutsideError
from reports.github.client import Client
from reports.github.credential import App, Token
from reports.github.etags import Etags
from reports.github.patience import limited, pause
from reports.github.redact import Redactor
from reports.github.refusal import LostError
from reports.github.request import Answer, Repository, Request
from tests.reports.github.hub import HubServer

AT = Repository(owner="o", name="n")
READ = Request(method="GET", path=AT.path("issues", 3, "comments", per_page=100, page=1))
POST = Request(
    method="POST", path=AT.path("issues", 3, "comments"), body={"body": "b"}, again=False
)
PATCH = Request(method="PATCH", path=AT.path("issues", "comments", 1), body={"body": "c"})
TOKEN = "ghs_made0up1token2of3these4tests5"


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def client(server: HubServer, slept: list[float]) -> Iterator[Client]:
    made = Client(Token(token=TOKEN), AT, api=server.base, sleep=slept.append, timeouts=(2, 0.5))
    yield made
    made.close()


def first(*faults: Answer) -> Callable[[Request], Answer | None]:
    """Answer the first requests so."""
    left = list(faults)
    return lambda _: left.pop(0) if left else None


def often(times: int) -> Callable[[Request], bool]:
    left = [None] * times
    return lambda _: bool(left and (left.pop() is None))


def test_it_says_who_it_is_and_what_it_speaks(client: Client, server: HubServer) -> None:
    client.send(READ)
    (headers,) = server.headers
    assert headers["authorization"] == f"token {TOKEN}"
    assert headers["accept"] == "application/vnd.github+json"
    assert headers["x-github-api-version"] == "2022-11-28"
    assert headers["user-agent"] == "nvfp4-matrix"


def test_a_body_is_sent_as_it_was_planned(client: Client, server: HubServer) -> None:
    assert client.send(POST).status == 201
    assert server.hub.requests[0].body == POST.body


@pytest.mark.parametrize("status", [403, 404, 409, 422])
def test_a_refusal_is_an_answer_and_not_asked_again(
    client: Client, server: HubServer, status: int
) -> None:
    server.hub.faults = first(Answer(status=status, content=b'{"message": "no"}'))
    answer = client.send(POST)
    assert (answer.status, answer.message, client.sent) == (status, "no", 1)


@pytest.mark.parametrize(
    ("fault", "least"),
    [
        (Answer(status=429, headers={"Retry-After": "7"}), 7),
        (Answer(status=403, headers={"Retry-After": "30"}, content=b'{"message": "x"}'), 30),
        (Answer(status=403, content=b'{"message": "You have exceeded a secondary rate limit."}'), 60),
        (Answer(status=429), 60),
    ],
)  # fmt: skip
@pytest.mark.parametrize("request_", [READ, POST, PATCH])
def test_a_limit_is_waited_for(  # noqa: PLR0917 - fixtures and cases
    client: Client,
    server: HubServer,
    slept: list[float],
    fault: Answer,
    least: int,
    request_: Request,
) -> None:
    server.hub.comments.append(server.hub.comment("c"))
    server.hub.faults = first(fault)
    assert client.send(request_).good
    assert least <= sum(slept) <= least + 15


@pytest.mark.parametrize("request_", [READ, POST, PATCH])
def test_the_end_of_a_limit_is_waited_for(
    client: Client, server: HubServer, slept: list[float], request_: Request
) -> None:
    server.hub.comments.append(server.hub.comment("c"))
    reset = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time()) + 40)}
    server.hub.faults = first(Answer(status=403, headers=reset))
    assert client.send(request_).good
    assert 30 <= sum(slept) <= 45


def test_a_limit_beyond_all_patience_is_told_at_once(
    client: Client, server: HubServer, slept: list[float]
) -> None:
    server.hub.faults = lambda _: Answer(status=403, headers={"Retry-After": "3600"})
    with pytest.raises(OutsideError, match="60 min, and 300 s are left"):
        client.send(READ)
    assert (slept, client.sent) == ([], 1)


def test_patience_is_one_for_all_requests(
    client: Client, server: HubServer, slept: list[float]
) -> None:
    server.hub.faults = lambda _: Answer(status=429, headers={"Retry-After": "100"})
    for _ in range(3):
        with pytest.raises(OutsideError):
            client.send(READ)
    assert sum(slept) <= 300


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_read_is_tried_again_when_github_fails(
    client: Client, server: HubServer, slept: list[float], status: int
) -> None:
    server.hub.faults = first(Answer(status=status), Answer(status=status), Answer(status=status))
    assert client.send(READ).good
    assert slept == sorted(slept)
    assert len(slept) == 3


def test_it_gives_up_after_some_attempts(
    client: Client, server: HubServer, slept: list[float]
) -> None:
    server.hub.faults = lambda _: Answer(status=502)
    with pytest.raises(OutsideError, match="answers 502 to PATCH"):
        client.send(PATCH)
    assert client.sent == 6
    assert sum(slept) < 60


def test_a_post_that_github_failed_at_is_not_repeated_blindly(
    client: Client, server: HubServer
) -> None:
    server.hub.faults = lambda _: Answer(status=502)
    with pytest.raises(LostError):
        client.send(POST)
    assert client.sent == 1


def test_what_was_lost_is_looked_for_after_a_pause_that_grows_and_not_past_patience(
    client: Client, server: HubServer, slept: list[float]
) -> None:
    server.hub.faults = lambda _: Answer(status=502)
    for _ in range(3):
        with pytest.raises(LostError):
            client.send(POST)
    assert slept == [1, 2, 4]
    server.hub.faults = lambda _: Answer(status=502, headers={"Retry-After": "9999"})
    with pytest.raises(LostError):
        client.send(POST)
    assert slept == [1, 2, 4]


def test_a_connection_that_is_cut_is_made_again(client: Client, server: HubServer) -> None:
    server.cut_before = often(2)
    assert client.send(READ).good
    assert client.sent == 3


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_cut_post_is_lost_and_not_sent_twice(
    client: Client, server: HubServer, when: str
) -> None:
    setattr(server, f"cut_{when}", often(1))
    with pytest.raises(LostError, match="no answer to POST"):
        client.send(POST)
    assert len(server.hub.comments) == (when == "after")
    assert client.sent == 1


def test_a_slow_answer_is_not_waited_for_for_ever(
    client: Client, server: HubServer, slept: list[float]
) -> None:
    def slow(_: Request) -> bool:
        time.sleep(0 if slept else 1)
        return False

    server.cut_before = slow
    assert client.send(READ).good
    assert len(slept) == 1


def test_a_server_that_is_not_there_is_told_without_the_token(slept: list[float]) -> None:
    away = Client(Token(token=TOKEN), AT, api="http://127.0.0.1:9", sleep=slept.append)
    with pytest.raises(OutsideError, match="no answer to POST") as caught:
        away.send(POST)
    assert not isinstance(caught.value, LostError)
    assert TOKEN not in str(caught.value)
    assert away.sent == 6


def test_what_did_not_change_is_not_sent_again(server: HubServer, tmp_path: Path) -> None:
    server.etags = True
    server.hub.comments.append(server.hub.comment("private words"))
    file = tmp_path / "cache" / "etags.json"
    answers = []
    for _ in range(2):
        client = Client(Token(token=TOKEN), AT, api=server.base, etags=Etags(file))
        answers.append(client.send(READ))
        client.close()
    assert server.headers[1]["if-none-match"]
    assert answers[0].document == answers[1].document
    assert file.stat().st_mode & 0o077 == 0
    assert TOKEN not in file.read_text()


def test_of_many_answers_the_newest_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "etags.json"
    first = Etags(file)
    for number in range(70):
        first.put(f"https://a/{number}", f'"{number}"', Answer(status=200))
    first.save()
    kept = Etags(file)
    assert kept.get("https://a/69") is not None
    assert kept.get("https://a/0") is None


def test_what_changed_is_read_anew(server: HubServer) -> None:
    server.etags = True
    client = Client(Token(token=TOKEN), AT, api=server.base)
    assert client.send(READ).document == []
    server.hub.comments.append(server.hub.comment("new"))
    assert len(client.send(READ).document) == 1


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"u": 1}'])
def test_a_damaged_cache_is_an_empty_one(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "e").write_bytes(content)
    assert Etags(tmp_path / "e").get("u") is None


def test_the_token_goes_to_github_alone(client: Client) -> None:
    upload = Request(
        method="POST", path="https://uploads.evil.example/x", content=b"x", again=False
    )
    with pytest.raises(OutsideError, match="not its own host"):
        client.send(upload)
    assert client.sent == 0


def test_a_write_is_not_led_elsewhere(client: Client, server: HubServer) -> None:
    server.hub.faults = first(
        Answer(status=301, headers={"Location": f"{server.base}/repos/o/n/issues/3/comments"})
    )
    assert client.send(POST).status == 301
    assert server.hub.comments == []


def key() -> str:
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return made.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    ).decode()


class Apps:
    """Answers an app's login; each token ends after `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.made = 0

    def __call__(self, request: Request) -> Answer | None:
        if request.path == "/repos/o/n/installation":
            return Answer(status=200, content=b'{"id": 99}')
        if request.path == "/app/installations/99/access_tokens":
            self.made += 1
            ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + self.seconds))
            document: dict[str, Any] = {"token": f"ghs_{'t' * 20}{self.made}", "expires_at": ends}
            return Answer(status=201, content=msgspec.json.encode(document))
        return None


@pytest.mark.parametrize(("seconds", "logins"), [(3600, 1), (100, 3)])
def test_an_apps_token_is_renewed_before_it_ends(
    server: HubServer, seconds: int, logins: int
) -> None:
    server.hub.faults = apps = Apps(seconds)
    client = Client(App(id="4711", key=key()), AT, api=server.base)
    for _ in range(3):
        assert client.send(READ).good
    assert apps.made == logins
    assert server.headers[0]["authorization"].startswith("Bearer ey")
    assert server.headers[-1]["authorization"] == f"token ghs_{'t' * 20}{logins}"


def test_an_app_that_is_not_installed_there_is_told(server: HubServer) -> None:
    client = Client(App(id="4711", key=key()), AT, api=server.base)
    with pytest.raises(ConfigurationError, match="4711 is not installed on o/n"):
        client.send(READ)


def test_a_refused_installation_is_told(server: HubServer) -> None:
    client = Client(App(id="4711", key=key(), installation="5"), AT, api=server.base)
    with pytest.raises(ConfigurationError, match="refuses the app 4711"):
        client.send(READ)


def test_a_key_that_is_none_is_told_and_not_shown(server: HubServer) -> None:
    secret = "-----BEGIN RSA PRIVATE KEY-----\nbm9uc2Vuc2U\n-----END RSA PRIVATE KEY-----"
    client = Client(App(id="1", key=secret, installation="5"), AT, api=server.base)
    with pytest.raises(ConfigurationError, match="no RSA key") as caught:
        client.send(READ)
    assert "bm9uc2" not in str(caught.value)


def test_a_minted_token_is_known_as_a_secret(server: HubServer) -> None:
    redactor = Redactor()
    server.hub.faults = Apps(3600)
    Client(App(id="1", key=key()), AT, api=server.base, redactor=redactor).send(READ)
    assert redactor.text(f"x ghs_{'t' * 20}1 y") == "x *** y"


@pytest.mark.parametrize(
    ("answer", "is_limit"),
    [
        (Answer(status=403), False),
        (
            Answer(status=403, content=b'{"message": "Resource not accessible by integration"}'),
            False,
        ),
        (Answer(status=403, headers={"x-ratelimit-remaining": "12"}), False),
        (Answer(status=404, headers={"retry-after": "1"}), False),
        (Answer(status=429), True),
    ],
)
def test_a_missing_permission_is_no_limit(answer: Answer, *, is_limit: bool) -> None:
    assert limited(answer) is is_limit


def test_pauses_double() -> None:
    assert [pause(None, n, 0) for n in range(1, 5)] == [1, 2, 4, 8]
    assert [pause(Answer(status=429), n, 0) for n in (1, 2)] == [60, 120]
    assert pause(Answer(status=429, headers={"retry-after": "Sat, 21 Nov 2026"}), 1, 0) == 60
