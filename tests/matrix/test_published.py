from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from packaging.specifiers import SpecifierSet

from matrix.errors import ConfigurationError
from matrix.evidence.record import WheelEvidence
from matrix.evidence.wheelfile import SdistFile, WheelFile, parse_sdist, parse_wheel
from matrix.published import LISTING, Listing, Published, listing_of, read_listing


def record(version: str, machine: str, build: str = "") -> WheelEvidence:
    return WheelEvidence(
        package="vllm",
        version=version,
        build=build,
        machine=machine,
        filename=f"vllm-{version}-{build}-{machine}.whl",
        sha256="0" * 64,
        bytes_total=1,
        bytes_fetched=1,
        measured="2026-11-21",
    )


def listing(**versions: tuple[str, ...]) -> Listing:
    packages = {"vllm": {name[1:].replace("_", "."): held for name, held in versions.items()}}
    return Listing(listed="2026-11-21", packages=packages)


def wheel(name: str, *, yanked: bool = False) -> WheelFile:
    file = parse_wheel(f"{name}.whl", "", yanked=yanked)
    assert file
    return file


def sdist(name: str) -> SdistFile:
    file = parse_sdist(f"{name}.tar.gz", "")
    assert file
    return file


def test_a_listing_is_the_same_whatever_the_order_of_the_files() -> None:
    files = [
        wheel(f"vllm-{version}-cp38-abi3-manylinux_2_31_{machine}")
        for version in ("0.9.2", "0.10.0")
        for machine in ("x86_64", "aarch64")
    ]
    files += [wheel("torch-2.0-py3-none-any"), wheel("vllm-9.0-py3-none-any", yanked=True)]
    sources = [sdist("vllm-0.11.0"), sdist("vllm-0.9.2")]
    told = listing_of("2026-11-21", files, sources)
    again = listing_of("2026-11-21", reversed(files), reversed(sources))
    assert msgspec.json.encode(told) == msgspec.json.encode(again)
    assert list(told.packages) == ["torch", "vllm"]
    assert list(told.packages["vllm"].items()) == [
        ("0.11.0", ()),
        ("0.10.0", ("aarch64", "x86_64")),
        ("0.9.2", ("aarch64", "x86_64")),
    ]


def test_a_listing_that_is_absent_knows_nothing_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    assert read_listing(tmp_path) == Listing(listed="", packages={})
    (tmp_path / LISTING).write_text("{")
    with pytest.raises(ConfigurationError, match=r"releases\.json: "):
        read_listing(tmp_path)


def test_the_highest_build_of_a_release_is_its_record_and_any_stands_for_a_machine() -> None:
    held = [record("1.0", "x86_64", "2"), record("1.0", "x86_64", "10"), record("2.0", "any")]
    known = Published(held, listing())
    assert known.record("vllm", "1.0", "x86_64") == held[1]
    assert known.record("vllm", "1.0", "aarch64") is None
    assert known.record("vllm", "2.0", "aarch64") == held[2]
    assert known.record("torch", "1.0", "x86_64") is None
    assert set(known.records("vllm")) == {"1.0", "2.0"}


def test_releases_come_newest_first_and_pre_releases_last() -> None:
    known = Published(
        [record("0.9.2", "x86_64")],
        listing(v0_10_0=("x86_64",), v0_11_0rc1=("any",), v0_12_0=("aarch64",), v0_13_0=()),
    )
    assert known.versions("vllm", "x86_64") == ("0.10.0", "0.9.2", "0.11.0rc1")
    assert known.versions("vllm", "aarch64") == ("0.12.0", "0.11.0rc1")


def test_whether_there_is_a_wheel_is_known_only_of_what_was_listed_or_read() -> None:
    known = Published([record("1.0", "x86_64")], listing(v2_0=("aarch64",), v3_0=()))
    assert known.has_wheel("vllm", "1.0", "x86_64") is True
    assert known.has_wheel("vllm", "1.0", "aarch64") is None
    assert known.has_wheel("vllm", "2.0", "aarch64") is True
    assert known.has_wheel("vllm", "2.0", "x86_64") is False
    assert known.has_wheel("vllm", "9.0", "x86_64") is None
    assert known.source_only("vllm", "3.0")
    assert not known.source_only("vllm", "2.0")


def test_the_newest_that_a_requirement_admits_is_what_pip_would_take() -> None:
    known = Published(
        [], listing(v1_0=("any",), v1_1=("aarch64",), v1_2rc1=("any",), v2_0=("any",))
    )
    assert known.newest("vllm", SpecifierSet("<2"), "aarch64") == "1.1"
    assert known.newest("vllm", SpecifierSet("<2"), "x86_64") == "1.0"
    assert known.newest("vllm", SpecifierSet(">=1.2rc1,<2"), "x86_64") == "1.2rc1"
    assert known.newest("vllm", SpecifierSet(">3"), "x86_64") is None
