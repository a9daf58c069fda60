"""Images pushed to a real registry (Debian's docker-registry, on loopback), and fetched from it by digest."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import docker
import pytest
import requests

from tests.e2e.builds import Build, Unbuilt, line, ran, told, until

pytestmark = pytest.mark.docker

PASSWORD = "open sesame"
HTPASSWD = "someone:$2b$04$UbK/Ux8/xRL/yZsjbaaAa.AtPqJ98CuJZ4vGsLiVd39e/yPGWDDF2\n"
SERVED = """\
version: 0.1
log: {{accesslog: {{disabled: true}}, formatter: json}}
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: '127.0.0.1:{port}'}}
auth: {{htpasswd: {{realm: tests, path: {folder}/htpasswd}}}}
"""


@pytest.fixture
def address(bridge: str) -> str:
    """Where the shelf listens: containers have to reach it."""
    return bridge


class Registry:
    """One that runs: `host` is what a name in it begins with."""

    def __init__(self, host: str, folder: Path) -> None:
        self.host = host
        self._folder = folder

    def layers(self) -> set[str]:
        """Return the digests of all that it holds."""
        return {file.parent.name for file in self._folder.glob("docker/registry/v2/blobs/**/data")}

    def digest(self, name: str, tag: str) -> str:
        """Return what a tag stands for there."""
        kind = "application/vnd.docker.distribution.manifest.v2+json"
        url = f"http://{self.host}/v2/{name}/manifests/{tag}"
        login = ("someone", PASSWORD)
        answer = requests.get(url, headers={"Accept": kind}, auth=login, timeout=10)
        return str(answer.headers["Docker-Content-Digest"])


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """One for all tests, so that the base is sent once."""
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        port: int = tried.getsockname()[1]
    folder = tmp_path_factory.mktemp("registry")
    config = folder / "registry.yml"
    config.write_text(SERVED.format(folder=folder, port=port))
    (folder / "htpasswd").write_text(HTPASSWD)
    serve = ["docker-registry", "serve", str(config)]
    with (
        (folder / "log").open("w") as output,
        subprocess.Popen(serve, stdout=output, stderr=subprocess.STDOUT) as process,
    ):
        try:
            until(lambda: answers(port))
            yield Registry(f"127.0.0.1:{port}", folder)
        finally:
            process.terminate()


def answers(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


Login = Callable[[str], None]
Removed = Callable[..., None]


@pytest.fixture
def login(running: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Login:
    """Let docker have a login at the registry; without a password none."""

    def have(password: str) -> None:
        text = base64.b64encode(f"someone:{password}".encode()).decode()
        logins = {running.host: {"auth": text}} if password else {}
        (tmp_path / "config.json").write_text(json.dumps({"auths": logins}))
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))

    return have


@pytest.fixture
def registry(running: Registry, login: Login) -> Registry:
    """The one that runs, logged in at."""
    login(PASSWORD)
    return running


@pytest.fixture
def removed(engine: Any) -> Iterator[Removed]:
    """Remove images by name, whatever else they are called."""

    def remove(*names: str) -> None:
        for name in names:
            engine.images.remove(name, force=True)

    yield remove
    for each in engine.api.images():
        for name in each["RepoTags"] or ():
            if name.startswith("127.0.0.1:"):
                engine.images.remove(name, force=True)


@pytest.mark.usefixtures("tiny")
def test_what_was_pushed_is_the_same_by_its_digest(
    build: Build, engine: Any, registry: Registry, removed: Removed
) -> None:
    client = docker.from_env()  # with the login
    made = told(build("tiny", "--json", "--push", f"{registry.host}/team/stacks"))
    repository, _, digest = made["pushed"].partition("@")
    assert repository == f"{registry.host}/team/stacks"
    short = made["fingerprint"][:20]
    assert registry.digest("team/stacks", short) == digest
    labels = engine.images.get(made["id"]).labels

    removed(made["image"], f"{repository}:{short}")
    assert made["id"] not in engine.api.images(all=True, quiet=True)
    pulled = client.images.pull(made["pushed"])
    assert pulled.id == made["id"]
    assert pulled.labels == labels
    assert ran(engine, made["pushed"], "python -c 'import tiny; print(tiny.x)'") == "1"
    client.close()
    removed(made["pushed"])


@pytest.mark.usefixtures("tiny")
def test_a_second_push_sends_no_layer_and_says_the_same(
    build: Build, registry: Registry, removed: Removed
) -> None:
    del removed  # it removes what was pushed
    push = ("tiny", "--json", "--push", f"{registry.host}/stacks:mine")
    first = told(build(*push))
    held = registry.layers()
    assert first["pushed"].rpartition(":")[2] in held
    again = told(build(*push))
    assert (
        again["pushed"]
        == first["pushed"]
        == f"{registry.host}/stacks@{registry.digest('stacks', 'mine')}"
    )
    assert registry.layers() == held
    assert told(build("tiny", "--json"))["pushed"] == first["pushed"]


@pytest.mark.usefixtures("tiny")
def test_an_image_that_a_registry_has_is_not_built_but_looked_at(
    build: Build, unbuilt: Unbuilt, registry: Registry, removed: Removed, tmp_path: Path
) -> None:
    unbuilt("tiny")
    name = f"{registry.host}/more"
    done = build("tiny", "--json", "--pull-from", name, "--push", name)
    assert "it is not there; building it" in done.stderr
    made = told(done)
    removed(made["image"], f"{name}:{made['fingerprint'][:20]}")
    (tmp_path / "kept" / made["fingerprint"][:20] / "report.json").unlink()  # as on another machine
    fetched = told(build("tiny", "--json", "--pull-from", name))
    assert fetched["built"] is False
    assert fetched["id"] == made["id"]
    assert list(fetched["seconds"]) == ["examine"]
    assert fetched["differences"] == []


@pytest.mark.usefixtures("tiny", "removed")
def test_another_image_under_that_tag_is_not_taken(
    build: Build, engine: Any, base: str, registry: Registry
) -> None:
    made = told(build("tiny", "--json"))
    engine.images.remove(made["image"], force=True)
    name, short = f"{registry.host}/wrong", made["fingerprint"][:20]
    engine.api.tag(base, name, short)
    engine.images.push(name, short, auth_config={"username": "someone", "password": PASSWORD})
    engine.images.remove(f"{name}:{short}")
    done = build("tiny", "--json", "--pull-from", name)
    assert "that is another image; building it" in done.stderr
    assert told(done)["built"] is True


def test_a_base_is_pulled_by_its_digest(
    build: Build, engine: Any, base: str, registry: Registry, tiny: object
) -> None:
    del tiny
    name = f"{registry.host}/base"
    engine.api.tag(base, name, "12")
    engine.images.push(name, "12", auth_config={"username": "someone", "password": PASSWORD})
    (digest,) = [
        each for each in engine.images.get(base).attrs["RepoDigests"] if each.startswith(name)
    ]
    engine.images.remove(f"{name}:12")
    made = told(build("tiny", "--json", "--base", digest))
    assert made["base"] == digest
    labels = engine.images.get(made["image"]).labels
    assert labels["org.opencontainers.image.base.name"] == name
    assert labels["org.opencontainers.image.base.digest"] == digest.partition("@")[2]
    engine.images.remove(digest)


@pytest.mark.usefixtures("tiny", "removed")
@pytest.mark.parametrize("password", ["", "wrong"])
def test_a_login_that_is_missing_or_refused_is_said_to_be_that(
    build: Build, running: Registry, login: Login, password: str
) -> None:
    login(password)
    done = build("tiny", "--json", "--push", f"{running.host}/stacks")
    error = line(done, 3)
    assert f"log in first: docker login {running.host}" in error
    assert PASSWORD not in done.stderr
    assert "once more" not in done.stderr


class Broken(BaseHTTPRequestHandler):
    """A registry that hangs up, whatever it is asked."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def broken(
    address: str = "127.0.0.1", certificate: Path | None = None
) -> Iterator[tuple[str, Sequence[str]]]:
    with ThreadingHTTPServer((address, 0), Broken) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        asked = server.asked = []  # type: ignore[attr-defined]
        if certificate:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(certificate)
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"{address}:{server.server_port}", asked
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("tiny", "removed")
def test_a_push_that_is_cut_off_is_tried_again_and_then_one_line(build: Build) -> None:
    with broken() as (host, asked):
        done = build("tiny", "--json", "--push", f"{host}/stacks")
    error = line(done, 3)
    assert f"{host}/stacks:" in error
    assert "cannot be pushed" in error
    assert done.stderr.count("once more in") == 2
    assert len([each for each in asked if each == "/v2/"]) >= 3


@pytest.mark.usefixtures("tiny", "removed")
@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("no-such-host.invalid", "see to"),
        ("127.0.0.1:1", "connection refused"),
    ],
)
def test_a_registry_that_is_not_there_is_one_line(build: Build, host: str, said: str) -> None:
    began = time.monotonic()
    assert said in line(build("tiny", "--push", f"{host}/stacks"), 3)
    assert time.monotonic() - began < 60


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("safe", "said"),
    [
        (True, "the engine does not trust it: put its CA into /etc/docker/certs.d/"),
        (False, "it has no TLS: give it one, or name it in the engine's insecure-registries"),
    ],
)
def test_a_registry_without_trust_is_said_to_be_that(
    build: Build, engine: Any, bridge: str, tmp_path: Path, *, safe: bool, said: str
) -> None:
    """On the bridge: to what is on loopback the engine speaks without TLS, too."""
    key = tmp_path / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=registry"]
    subprocess.run([*make, "-keyout", key, "-out", key], check=True, capture_output=True)
    with broken(bridge, key if safe else None) as (host, _):
        done = build("tiny", "--push", f"{host}/stacks:x")
    assert said in line(done, 3)
    assert not engine.api.images(f"{host}/stacks")
