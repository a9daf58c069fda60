from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from matrix.errors import ConfigurationError, NotFoundError
from matrix.evidence.wheel import Wheel
from matrix.evidence.wheelfile import parse_wheel
from matrix.origin import from_path, from_url, installed, site_packages

if TYPE_CHECKING:
    from tests.conftest import MakeWheel

NAME = "vllm-0.33.0-1-cp38-abi3-manylinux_2_31_aarch64.whl"


def test_a_url_says_package_version_machine_and_hash() -> None:
    file = from_url(f"https://host/a/{NAME}?token=1#sha256={'A' * 64}&egg=vllm")
    assert (file.package, file.version, file.build) == ("vllm", "0.33.0", "1")
    assert (file.machine, file.filename) == ("aarch64", NAME)
    assert file.sha256 == "a" * 64
    assert from_url(f"https://host/{NAME}#sha256=short").sha256 == ""
    assert from_url(f"https://host/{NAME.replace('_', '%5F')}").filename == NAME


@pytest.mark.parametrize(
    "url",
    [
        f"ftp://host/{NAME}",
        "https://host/",
        "https://host/vllm-0.33.0.tar.gz",
        "https://host/vllm-0.33.0-cp38-abi3-win_amd64.whl",
        "https://host/vllm-0.33.0-cp38-abi3-manylinux_%1b[31m_x86_64.whl",
        "https://host/vllm-0.33.0-cp38-abi3-manylinux_%2F..%2F_x86_64.whl",
        "https://[host/" + NAME,
        f"https://user:secret@h\u2100st/{NAME}",
    ],
)
def test_a_url_of_no_wheel_is_refused_in_printable_words(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        from_url(url)
    assert str(caught.value).isprintable()
    assert "secret" not in str(caught.value)


def test_a_path_says_the_same_whether_or_not_it_is_there(tmp_path: Path) -> None:
    file = from_path(tmp_path / "with space" / NAME)
    assert file.url == f"file://{tmp_path}/with%20space/{NAME}"
    assert file.sha256 == ""
    with pytest.raises(ConfigurationError, match=r"x\.whl is no name of a wheel"):
        from_path(tmp_path / "x.whl")


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        (NAME, True),
        ("torch-2.9.0+cu130-cp312-cp312-manylinux_2_28_x86_64.whl", True),
        ("a-1!2.0-py2.py3-none-any.whl", True),
        ("a-1.0-py3-none-manylinux_/../_x86_64.whl", False),
        ("a-1.0-py3-none-manylinux_\n_x86_64.whl", False),
        ("a-1.0-py3-none-any.whl\n", False),
        ("a-1.0-py3-none-manylinux_|_x86_64.whl", False),
        (f"a-1.0-py3-none-manylinux_{'x' * 300}_x86_64.whl", False),
    ],
)
def test_a_name_that_no_build_makes_is_none_of_a_wheel(name: str, *, kept: bool) -> None:
    assert (parse_wheel(name, "https://example.org/") is not None) is kept


def install(wheel: Path, folder: Path) -> Path:
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder)
    return folder


def test_a_distribution_is_found_by_any_spelling_in_folder_or_environment(
    make_wheel: MakeWheel, tmp_path: Path
) -> None:
    folder = tmp_path / "venv/lib/python3.12/site-packages"
    install(make_wheel("Flash-Infer.python", "1.0"), folder)
    for place in (folder, tmp_path / "venv"):
        assert site_packages(place, "flash_infer-python") == folder
    with pytest.raises(NotFoundError, match="torch is not installed in "):
        site_packages(tmp_path / "venv", "torch")


def test_the_interpreter_of_an_environment_knows_its_own_packages() -> None:
    assert (site_packages(Path(sys.executable), "pytest") / "pytest").is_dir()


def test_what_is_no_environment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is no Python, no environment"):
        site_packages(tmp_path, "vllm")
    with pytest.raises(ConfigurationError, match="no such file or folder"):
        site_packages(tmp_path / "none", "vllm")
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nexit 1\n")
    script.chmod(0o755)
    with pytest.raises(ConfigurationError, match="cannot be run as a Python interpreter"):
        site_packages(script, "vllm")


@pytest.mark.parametrize(
    ("tag", "machine"),
    [("cp38-abi3-manylinux_2_31_aarch64", "aarch64"), ("py3-none-any", "any")],
)
def test_an_installed_distribution_says_of_which_wheel_it_was(
    make_wheel: MakeWheel, tmp_path: Path, tag: str, machine: str
) -> None:
    folder = install(make_wheel("pkg", "1.0", tag=tag), tmp_path / "site")
    with Wheel.open_installed(folder, "pkg") as wheel:
        file = installed(wheel, folder)
    assert (file.filename, file.machine, file.url) == (f"pkg-1.0-{tag}.whl", machine, "")


@pytest.mark.parametrize("tag", ["cp312-cp312-win_amd64", "nonsense", "a-b-c-d-e"])
def test_one_for_another_system_is_refused(make_wheel: MakeWheel, tmp_path: Path, tag: str) -> None:
    folder = install(make_wheel("pkg", "1.0", tag=tag), tmp_path / "site")
    with (
        Wheel.open_installed(folder, "pkg") as wheel,
        pytest.raises(ConfigurationError, match="is of no wheel for GNU/Linux"),
    ):
        installed(wheel, folder)
