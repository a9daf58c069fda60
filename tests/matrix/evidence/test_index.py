from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from matrix.errors import ConfigurationError, IndexAnswerError, NotFoundError
from matrix.evidence.index import Index
from matrix.evidence.pipconfig import PipConfig, read_pip_config
from matrix.evidence.transport import Connection, Session
from matrix.evidence.wheel import Wheel

NAMES = (
    "vllm-0.9.2-cp38-abi3-manylinux1_x86_64.whl",
    "vllm-0.20.1-cp38-abi3-manylinux_2_31_aarch64.whl",
    "vllm-0.20.1-cp38-abi3-manylinux_2_31_x86_64.whl",
    "vllm-0.20.1-1-cp38-abi3-manylinux_2_31_x86_64.whl",
    "vllm-0.20.1-cp38-abi3-macosx_11_0_arm64.whl",
    "vllm-0.20.1-cp38-abi3-win_amd64.whl",
    "vllm-0.20.1-cp38-abi3-musllinux_1_2_x86_64.whl",
    "vllm-0.21.0-cp311-cp311-manylinux_2_28_x86_64.whl",
    "vllm-0.21.0-cp312-cp312-manylinux_2_28_x86_64.whl",
    "vllm-0.21.0-py3-none-any.whl",
    "vllm-0.20.1.tar.gz",
    "not a wheel.whl",
    "vllm-x-py3-none-any.whl",
    "other-1.0-py3-none-any.whl",
)
HTML = "<!DOCTYPE html><html><body>" + "".join(
    f'<a href="../files/{name}#sha256={index:064x}" data-requires-python="&gt;=3.10">{name}</a>'
    for index, name in enumerate(NAMES)
)
JSON = {
    "meta": {"api-version": "1.1"},
    "name": "vllm",
    "files": [
        {
            "filename": name,
            "url": f"../files/{name}",
            "hashes": {"sha256": f"{index:064x}"},
            "size": 7,
            "requires-python": ">=3.10",
            "yanked": False,
        }
        for index, name in enumerate(NAMES)
    ],
}
PEP_691 = "application/vnd.pypi.simple.v1+json"


def index(httpserver: HTTPServer, *, timeout: float = 5, retries: int = 0) -> Index:
    session = Session(Connection(timeout=timeout, retries=retries, backoff=0))
    return Index(session, [httpserver.url_for("/simple")])


@pytest.fixture(params=["html", "json", "application/json"])
def forms(request: pytest.FixtureRequest, httpserver: HTTPServer) -> Index:
    html = request.param == "html"
    kind = {"html": "text/html", "json": PEP_691}.get(request.param, request.param)
    httpserver.expect_request("/simple/vllm/").respond_with_data(
        HTML if html else json.dumps(JSON), content_type=kind
    )
    return index(httpserver)


def test_both_forms_list_the_same_wheels_for_linux(forms: Index, httpserver: HTTPServer) -> None:
    files = forms.files("VLLM")
    assert [file.filename for file in files] == [*NAMES[:4], *NAMES[7:10]]
    assert [file.machine for file in files] == ["x86_64", "aarch64"] + ["x86_64"] * 4 + ["any"]
    tagged = files[3]
    assert (tagged.package, tagged.version, tagged.build) == ("vllm", "0.20.1", "1")
    assert (tagged.python, tagged.abi) == ("cp38", "abi3")
    assert tagged.platforms == ("manylinux_2_31_x86_64",)
    assert tagged.url == httpserver.url_for(f"/simple/files/{tagged.filename}")
    assert tagged.sha256 == f"{3:064x}"
    assert tagged.requires_python == ">=3.10"
    assert [file.filename for file in forms.sdists("vllm")] == ["vllm-0.20.1.tar.gz"]


@pytest.mark.parametrize(
    ("version", "machine", "pythons", "filename"),
    [
        ("0.20.1", "x86_64", ("cp312",), NAMES[3]),
        ("0.20.1", "aarch64", ("cp312",), NAMES[1]),
        ("0.21.0", "x86_64", ("cp312",), NAMES[8]),
        ("0.21.0", "x86_64", ("cp311",), NAMES[7]),
        ("0.21.0", "x86_64", ("cp310",), NAMES[9]),
        ("0.21.0", "aarch64", ("cp312",), NAMES[9]),
        ("0.21.0", "x86_64", ("cp39", "cp311"), NAMES[7]),
    ],
)
def test_the_wheel_is_the_one_that_pip_takes(
    forms: Index, version: str, machine: str, pythons: tuple[str, ...], filename: str
) -> None:
    assert forms.find("vllm", version, machine, pythons).filename == filename


def test_what_is_not_there_names_what_is(forms: Index) -> None:
    with pytest.raises(NotFoundError, match=r"^vllm 0\.9\.2 has no aarch64 wheel; it has x86_64$"):
        forms.find("vllm", "0.9.2", "aarch64")
    with pytest.raises(NotFoundError, match=r"vllm 0\.20\.2 is not there; the nearest: .*0\.20\.1"):
        forms.find("vllm", "0.20.2", "x86_64")
    with pytest.raises(NotFoundError, match=r"no x86_64 wheel for cp39; it has cp38-abi3"):
        forms.find("vllm", "0.20.1", "x86_64", ("cp39",))
    with pytest.raises(ConfigurationError, match="is no version"):
        forms.find("vllm", "new", "x86_64")


def test_a_yanked_wheel_is_taken_only_alone(httpserver: HTTPServer) -> None:
    files = [
        {"filename": f"a-1.0-{tag}py3-none-any.whl", "url": "x", "hashes": {}, "yanked": bool(tag)}
        for tag in ("", "9-")
    ]
    page = {"meta": {"api-version": "1.0"}, "name": "a", "files": files}
    httpserver.expect_request("/simple/a/").respond_with_json(page, content_type=PEP_691)
    assert index(httpserver).find("a", "1.0", "x86_64").build == ""
    page["files"] = files[1:]
    httpserver.clear()
    httpserver.expect_request("/simple/a/").respond_with_json(page, content_type=PEP_691)
    assert index(httpserver).find("a", "1.0", "x86_64").yanked


def test_a_package_that_is_not_there_gets_a_hint(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/simple/vlm/").respond_with_data("", status=404)
    with pytest.raises(NotFoundError, match=r"vlm is not in http.*/simple; did you mean vllm\?"):
        index(httpserver).files("vlm")


@pytest.mark.parametrize(
    ("body", "kind", "problem"),
    [
        ("hello", "text/plain", "no form of an index"),
        ("{", PEP_691, "no index page"),
        ("[]", PEP_691, "no index page"),
        ('{"files": 1}', PEP_691, "no index page"),
        ("<html>Please log in</html>", "text/html", "lists no files"),
    ],
)
def test_what_is_no_index_page_is_one_line_without_credentials(
    httpserver: HTTPServer, body: str, kind: str, problem: str
) -> None:
    httpserver.expect_request("/simple/vllm/").respond_with_data(body, content_type=kind)
    url = httpserver.url_for("/simple").replace("//", "//user:word@")
    with pytest.raises(IndexAnswerError, match=problem) as caught:
        Index(Session(Connection(retries=0)), [url]).files("vllm")
    assert httpserver.url_for("/simple/vllm/") in str(caught.value)
    assert "word" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_error_of_the_index_is_asked_again_and_then_told(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/simple/vllm/").respond_with_data("", status=500)
    with pytest.raises(IndexAnswerError, match="answers 500"):
        index(httpserver, retries=2).files("vllm")
    assert len(httpserver.log) == 3


def test_a_passing_error_of_the_index_is_passed_over(httpserver: HTTPServer) -> None:
    httpserver.expect_ordered_request("/simple/vllm/").respond_with_data("", status=503)
    httpserver.expect_ordered_request("/simple/vllm/").respond_with_data(
        HTML, content_type="text/html"
    )
    assert index(httpserver, retries=2).files("vllm")


def test_an_index_that_hangs_is_told(httpserver: HTTPServer) -> None:
    def hang(_: Request) -> Response:
        time.sleep(0.5)
        return Response("late")

    httpserver.expect_request("/simple/vllm/").respond_with_handler(hang)
    with pytest.raises(IndexAnswerError, match="no answer in time"):
        index(httpserver, timeout=0.1).files("vllm")


def test_credentials_are_sent_and_not_kept_in_urls(httpserver: HTTPServer) -> None:
    httpserver.expect_request(
        "/simple/vllm/", headers={"Authorization": "Basic dXNlcjp3b3Jk"}
    ).respond_with_data(HTML, content_type="text/html")
    url = httpserver.url_for("/simple").replace("//", "//user:word@")
    files = Index(Session(Connection(retries=0)), [url]).files("vllm")
    assert "word" not in files[0].url


def test_a_file_index_and_a_folder_are_read(tmp_path: Path) -> None:
    (tmp_path / "simple/vllm").mkdir(parents=True)
    (tmp_path / "simple/vllm/index.html").write_text(HTML)
    (tmp_path / "links").mkdir()
    (tmp_path / "links/vllm-0.99-py3-none-any.whl").write_bytes(b"x")
    (tmp_path / "links/other-0.99-py3-none-any.whl").write_bytes(b"x")
    held = Index(Session(), [(tmp_path / "simple").as_uri()], [str(tmp_path / "links")])
    assert held.find("vllm", "0.20.1", "x86_64").build == "1"
    found = held.find("vllm", "0.99", "aarch64")
    assert found.url == (tmp_path / "links/vllm-0.99-py3-none-any.whl").as_uri()
    assert len(held.files("vllm")) == 8
    with pytest.raises(NotFoundError):
        held.files("absent")


def config(tmp_path: Path, text: str = "", **variables: str) -> PipConfig:
    file = tmp_path / "chosen.conf"
    file.write_text(text)
    held: Mapping[str, str] = {
        "HOME": str(tmp_path),
        "XDG_CONFIG_DIRS": str(tmp_path),
        "PIP_CONFIG_FILE": str(file),
        "PIP_CERT": "",
        **variables,
    }
    return read_pip_config(held)


def test_pips_files_are_read_and_variables_win(tmp_path: Path) -> None:
    text = (
        "[global]\nindex-url = https://user:wo%72d@a.example/simple\n"
        "extra-index-url =\n  https://b.example/simple\n  https://c.example/simple\n"
        "timeout = 3\ntrusted-host = a.example b.example:8\nfind_links = /x /y\n"
        "[install]\ntimeout = 4\nproxy = http://p.example:3128\n"
    )
    held = config(tmp_path, text)
    urls = ("https://a.example/simple", "https://b.example/simple", "https://c.example/simple")
    assert held.indexes == urls
    assert held.find_links == ("/x", "/y")
    assert held.connection.timeout == 4
    assert held.connection.proxy == "http://p.example:3128"
    assert held.connection.trusted_hosts == ("a.example", "b.example:8")
    assert held.connection.logins == (("a.example", "user", "word"),)
    held = config(tmp_path, text, PIP_INDEX_URL="https://d.example", PIP_DEFAULT_TIMEOUT="9")
    assert held.indexes[0] == "https://d.example"
    assert config(tmp_path, text, PIP_NO_INDEX="1").indexes == ()
    assert config(tmp_path, text, PIP_NO_INDEX="0").indexes == urls


def test_certificates_come_from_pip_and_then_from_the_environment(tmp_path: Path) -> None:
    pem = tmp_path / "ca.pem"
    pem.write_text("")
    none = "[global]\ncert =\n"  # over what this machine's own files say
    assert config(tmp_path, none, SSL_CERT_FILE=str(pem)).connection.ca_bundle == str(pem)
    assert config(tmp_path, PIP_CERT=str(pem)).connection.ca_bundle == str(pem)
    with pytest.raises(ConfigurationError, match=r"gone\.pem: no such certificate"):
        config(tmp_path, PIP_CERT=str(tmp_path / "gone.pem"))


@pytest.mark.parametrize("text", ["index-url = x", "[global]\ntimeout = soon", "[global]\n\0\xff["])
def test_a_damaged_configuration_is_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        config(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_no_file_is_read_where_the_user_says_so(tmp_path: Path) -> None:
    assert (
        config(tmp_path, "[global]\nproxy = x", PIP_CONFIG_FILE=os.devnull).connection.proxy == ""
    )


@pytest.mark.network
def test_the_real_index_serves_a_wheel_by_range() -> None:
    index = Index.from_environment()
    file = index.find("packaging", "25.0", "x86_64")
    with Wheel.open_url(index.session, file.url, sha256=file.sha256) as wheel:
        assert wheel.metadata()["Version"] == "25.0"
        assert wheel.read("packaging/__init__.py")
    index.session.close()


@pytest.mark.network
def test_the_real_index_has_build_tags_and_says_what_machines_there_are() -> None:
    index = Index.from_environment()
    assert index.find("vllm", "0.20.1", "x86_64").build == "1"
    with pytest.raises(NotFoundError, match="has no aarch64 wheel; it has x86_64"):
        index.find("vllm", "0.9.2", "aarch64")
    index.session.close()
