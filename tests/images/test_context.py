from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from images.context import context, pip_conf, proxies, reachable, settled, tarred, with_indexes
from images.recipe import Recipe
from matrix.errors import ConfigurationError
from matrix.evidence.pipconfig import PipConfig, read_pip_config
from matrix.evidence.transport import Connection

RECIPE = Recipe(
    stack="s",
    machine="x86_64",
    environment="slim",
    python="3.12",
    base=f"sha256:{'0' * 64}",
    lock=("alpha==1.0 --hash=sha256:0",),
    pins={"alpha": "1.0"},
)


def config(**settings: Any) -> PipConfig:
    return PipConfig(connection=Connection(**settings))


def test_folders_of_this_machine_are_left_out() -> None:
    told = PipConfig(indexes=("", "file:///here", "https://x.example/simple"), find_links=("/w",))
    left = reachable(told)
    assert (left.indexes, left.find_links) == (("", "https://x.example/simple"), ())


def test_the_command_line_wins_over_what_pip_is_told() -> None:
    told = PipConfig(indexes=("https://a.example/s",), connection=Connection(ca_bundle="/a.pem"))
    assert settled(told, (), "") == told
    new = settled(told, ("https://me:p%40ss@b.example/s", "http://c.example"), "/b.pem")
    assert new.indexes == ("https://b.example/s", "http://c.example")
    assert new.connection.ca_bundle == "/b.pem"
    assert "index-url = https://me:p%40ss@b.example/s\n" in pip_conf(new)


@pytest.mark.parametrize(
    "index",
    ["file:///x", "/x", "pypi", "https://x.example/a b", "https://x.example/\nextra = y", "-r x"],
)
def test_an_index_that_a_container_cannot_reach_is_refused(index: str) -> None:
    with pytest.raises(ConfigurationError, match="--index"):
        settled(PipConfig(), (index,), "")


def test_a_refused_index_is_told_without_its_login() -> None:
    with pytest.raises(ConfigurationError) as told:
        settled(PipConfig(), ("ftp://me:secret@x.example/",), "")
    assert "secret" not in str(told.value)


def test_pip_in_the_build_reads_what_was_meant(tmp_path: Any) -> None:
    """What is written is read back by the rules of pip's own files."""
    file = tmp_path / "pip.conf"
    meant = PipConfig(
        indexes=("https://a.example/s", "https://b.example/s"),
        connection=Connection(
            timeout=7.0,
            retries=2,
            proxy="http://proxy.example:3128",
            trusted_hosts=("a.example", "b.example"),
            logins=(("a.example", "me", "p@ss/%"),),
        ),
    )
    file.write_text(pip_conf(meant))
    read = read_pip_config({"PIP_CONFIG_FILE": str(file), "HOME": str(tmp_path)})
    # This machine may have certificates in a file of its own.
    connection = msgspec.structs.replace(read.connection, ca_bundle="")
    assert (read.indexes, connection) == (meant.indexes, meant.connection)


def test_pip_is_told_of_certificates_only_where_there_are_some() -> None:
    assert "cert = /build/ca.pem" in pip_conf(config(ca_bundle="/etc/ca.pem"))
    assert "cert" not in pip_conf(config())


def test_no_index_stays_no_index() -> None:
    assert "no-index = true" in pip_conf(PipConfig(indexes=()))


@pytest.mark.parametrize("bad", ["http://x\nindex-url = http://y", "http://x\0", "http://\x1b[1m"])
def test_a_setting_cannot_bring_another_one_in(bad: str) -> None:
    with pytest.raises(ConfigurationError, match="proxy"):
        pip_conf(config(proxy=bad))


def test_a_proxy_goes_by_the_names_that_the_engine_does_not_keep() -> None:
    told = proxies({"HTTPS_PROXY": "http://p:1", "no_proxy": "x", "HOME": "/", "http_proxy": ""})
    assert told == {
        "https_proxy": "http://p:1",
        "HTTPS_PROXY": "http://p:1",
        "no_proxy": "x",
        "NO_PROXY": "x",
    }


def test_the_context_is_the_same_bytes_for_the_same_values() -> None:
    with context(RECIPE, config(), b"ca") as one, context(RECIPE, config(), b"ca") as two:
        first, second = one.read(), two.read()
    assert first == second
    with tarfile.open(fileobj=io.BytesIO(first)) as archive:
        assert archive.getnames() == ["Dockerfile", "lock.txt", "pip.conf", "ca.pem"]
        lock = archive.extractfile("lock.txt")
        assert lock
        assert lock.read().decode() == "\n".join(RECIPE.lock) + "\n"


def test_wheels_that_were_built_are_sent_along(tmp_path: Path) -> None:
    wheel = tmp_path / "alpha-1.0-py3-none-any.whl"
    wheel.write_bytes(b"a wheel")
    with (
        context(RECIPE, config(), b"ca", [wheel]) as sent,
        tarfile.open(fileobj=sent) as archive,
    ):
        assert archive.getnames()[-1] == f"wheelhouse/{wheel.name}"
        held = archive.extractfile(f"wheelhouse/{wheel.name}")
        assert held
        assert held.read() == b"a wheel"


def test_files_for_a_container_are_its_users_and_nobody_elses() -> None:
    with tarfile.open(fileobj=io.BytesIO(tarred({"tmp/a/b/f": b"x"}, uid=7))) as archive:
        told = {entry.name: (entry.uid, entry.mode) for entry in archive}
    assert told == {"tmp/a": (7, 0o700), "tmp/a/b": (7, 0o700), "tmp/a/b/f": (7, 0o644)}


def test_an_index_of_a_pin_stands_behind_the_others_once() -> None:
    first = config()
    more = with_indexes(first, ["https://wheels.example/a", "", "https://wheels.example/a"])
    assert more.indexes == (*first.indexes, "https://wheels.example/a")
    assert with_indexes(more, ["https://wheels.example/a"]) == more
