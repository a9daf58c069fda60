"""What is made of an engine's words while it pushes and pulls; a real registry is asked in tests/e2e."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import docker.errors
import pytest

from images.engine import registry
from images.reference import reference
from matrix.errors import EngineError, NotFoundError

TO = reference("--push", "localhost:5000/stacks", "f00")
DIGEST = f"sha256:{'1' * 64}"
DONE = {"progressDetail": {}, "aux": {"Tag": "f00", "Digest": DIGEST, "Size": 1}}


class Api:
    """An engine that says, each time it is asked, what comes next."""

    timeout = 60

    def __init__(self, *answers: Sequence[dict[str, Any]] | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str]] = []
        self.names: set[str] = set()

    def tag(self, image: str, repository: str, tag: str) -> None:
        assert image == "sha256:0"
        self.names.add(f"{repository}:{tag}")

    def inspect_image(self, name: str) -> None:
        if name not in self.names:
            raise docker.errors.ImageNotFound(name)

    def remove_image(self, name: str, *, noprune: bool) -> None:
        assert noprune
        self.names.remove(name)

    def push(self, repository: str, *, tag: str, stream: bool, decode: bool) -> Iterator[Any]:
        assert (stream, decode) == (True, True)
        assert self.timeout > 60
        return self._next(repository, tag)

    def pull(self, repository: str, *, tag: str, stream: bool, decode: bool) -> Iterator[Any]:
        assert (stream, decode) == (True, True)
        return self._next(repository, tag)

    def _next(self, repository: str, tag: str) -> Iterator[Any]:
        self.asked.append((repository, tag))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        yield from answer


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    made: list[float] = []
    monkeypatch.setattr(registry, "time", SimpleNamespace(sleep=made.append, monotonic=iter(range(0, 10_000, 20)).__next__))  # fmt: skip
    return made


def push(api: Api) -> tuple[str, list[str]]:
    told: list[str] = []
    return registry.push(SimpleNamespace(api=api), "sha256:0", TO, told.append), told


def test_what_was_sent_is_told_and_the_digest_returned() -> None:
    pushing = {"status": "Pushing", "id": "a"}
    api = Api([
        {"status": "Pushing", "id": "a", "progressDetail": {"current": 3e9, "total": 4e9}},
        {"status": "Pushed", "id": "a"},
        {**pushing, "id": "b", "progressDetail": {"current": 9e9, "total": 6e9}},
        {**pushing, "id": "c", "progressDetail": {"current": 9e9}},
        DONE,
    ])  # fmt: skip
    digest, told = push(api)
    assert digest == f"localhost:5000/stacks@{DIGEST}"
    assert told[0] == "pushing to localhost:5000/stacks:f00"
    assert told[1].endswith(": 3.0 of 4.0 GB")
    assert told[-1].endswith(": 10.0 of 10.0 GB")
    assert api.timeout == 60


def test_the_network_is_tried_again(pauses: list[float]) -> None:
    digest, told = push(Api([{"error": 'Get "https://localhost:5000/v2/": EOF'}], [DONE]))
    assert digest.endswith(DIGEST)
    assert pauses == [2.0]
    assert told[1].endswith("EOF; once more in 2 s")


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("no basic auth credentials", "log in first: docker login localhost:5000"),
        ("denied: requested access to the resource is denied", "may not do that"),
        ("x509: certificate signed by unknown authority", "/etc/docker/certs.d/localhost:5000/ca.crt"),
        ("dial tcp: lookup nowhere: no such host", "see to the name"),
        ("toomanyrequests: slow down", "try later"),
        ("write /x: no space left on device", "a disk is full"),
    ],
)  # fmt: skip
def test_what_is_refused_is_not_tried_again(said: str, advice: str, pauses: list[float]) -> None:
    with pytest.raises(EngineError, match="cannot be pushed") as caught:
        push(Api([{"error": said}]))
    assert said in str(caught.value)
    assert advice in str(caught.value)
    assert pauses == []


def test_what_the_engine_tried_again_by_itself_is_left_at_that(pauses: list[float]) -> None:
    waits = [{"status": f"Retrying in {left} seconds", "id": "a"} for left in (2, 1)]
    told: list[str] = []
    api: Any = SimpleNamespace(api=Api([*waits, {"error": "connection reset"}]))
    with pytest.raises(EngineError, match="connection reset"):
        registry.push(api, "sha256:0", TO, told.append)
    assert pauses == []
    assert [each for each in told if "sends it again" in each] == told[1:]
    assert len(told) == 2


def test_a_network_that_stays_away_is_given_up(pauses: list[float]) -> None:
    refused = [{"error": "dial tcp 127.0.0.1:1: connect: connection refused"}]
    with pytest.raises(EngineError, match="connection refused"):
        push(Api(*[refused] * 3))
    assert pauses == [2.0, 8.0]


@pytest.mark.parametrize("before", [True, False])
def test_a_push_that_fails_leaves_no_name_that_was_not_there(*, before: bool) -> None:
    api = Api([{"error": "no such host"}])
    api.names = {str(TO)} if before else set()
    with pytest.raises(EngineError):
        push(api)
    assert (str(TO) in api.names) is before


def test_a_push_without_a_digest_is_no_push() -> None:
    with pytest.raises(EngineError, match="names no digest"):
        push(Api([{"status": "f00: digest: ?"}]))


def test_an_engine_that_is_gone_is_not_the_registry(pauses: list[float]) -> None:
    with pytest.raises(EngineError):
        push(Api(docker.errors.DockerException("Connection aborted: connection reset by peer")))
    assert pauses == []


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        (f"localhost:5000/x@{DIGEST}", ("localhost:5000/x", DIGEST)),
        ("localhost:5000/x:f00", ("localhost:5000/x", "f00")),
    ],
)
def test_what_is_pulled_is_asked_for_by_repository_and_version(
    name: str, asked: tuple[str, str]
) -> None:
    api = Api([{"status": "Pull complete"}])
    registry.pull(SimpleNamespace(api=api), name, "localhost:5000", print)
    assert api.asked == [asked]


@pytest.mark.parametrize(
    "answer",
    [
        docker.errors.NotFound("manifest for x not found: manifest unknown"),
        [{"error": "manifest unknown"}],
    ],
)
def test_what_a_registry_has_not_is_not_found(answer: Any) -> None:
    with pytest.raises(NotFoundError, match="cannot be pulled"):
        registry.pull(SimpleNamespace(api=Api(answer)), "localhost/x:1", "localhost", print)


def test_a_pull_that_fails_on_the_way_is_told() -> None:
    failed = [{"status": "Downloading"}, {"error": "unexpected EOF"}]
    with pytest.raises(EngineError, match="unexpected EOF"):
        registry.pull(SimpleNamespace(api=Api(*[failed] * 3)), "localhost/x:1", "localhost", print)
