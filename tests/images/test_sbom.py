from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from images.engine import Image
from images.recipe import Recipe, fingerprint
from images.sbom import HASH, sbom

DIGEST = f"sha256:{'1' * 64}"
MADE = Recipe(
    stack="tiny \N{SNOWMAN} $(id)",
    machine="aarch64",
    environment="slim",
    python="3.12",
    base=f"registry.example:5000/team/debian:12@{DIGEST}",
    lock=(
        f"Other_Thing[more]==2.5 --hash=sha256:{'b' * 64} --hash=sha256:{'a' * 64}",
        f"tiny==1.0 --hash=sha256:{'c' * 64}",
    ),
    pins={"other-thing": "2.5", "tiny": "1.0"},
)
IMAGE = Image("sha256:0", 1, {}, "aarch64", "2026-11-21T14:03:11.123456789Z")
INSTALLED = {"Other.Thing": "2.5", "tiny": "1.1", "pip": "25.0"}
SYSTEM = "debian 12\nlibc6\t2.36-9+deb12u10\tarm64\nlibstdc++6\t12.2.0-14\tarm64\n"


def made(**changed: Any) -> dict[str, Any]:
    values: dict[str, Any] = {"made": MADE, "image": IMAGE, "installed": INSTALLED, "system": SYSTEM} | changed  # fmt: skip
    text = sbom(**values).decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    found: dict[str, Any] = json.loads(text)
    return found


def test_every_package_the_base_and_the_image_itself_are_in_it() -> None:
    bill = made()
    there = {each["bom-ref"]: each for each in bill["components"]}
    assert {*there} == {
        f"pkg:oci/debian@{DIGEST}?arch=arm64&repository_url=registry.example:5000/team/debian:12",
        "pkg:pypi/other-thing@2.5",
        "pkg:pypi/tiny@1.1",
        "pkg:pypi/pip@25.0",
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=arm64&distro=debian-12",
        "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14?arch=arm64&distro=debian-12",
    }
    whole = bill["metadata"]["component"]
    assert (whole["name"], whole["version"]) == (MADE.stack, fingerprint(MADE)[:20])
    (rests,) = [each for each in bill["dependencies"] if each.get("dependsOn")]
    assert rests["ref"] == whole["bom-ref"]
    assert {*rests["dependsOn"]} == {*there}


@pytest.mark.parametrize(
    ("package", "hashes"),
    [
        ("other-thing@2.5", ["a" * 64, "b" * 64]),
        ("tiny@1.1", []),  # not the version that the lock has hashes of
        ("pip@25.0", []),
    ],
)
def test_hashes_are_the_locks_for_what_the_lock_has(package: str, hashes: list[str]) -> None:
    (found,) = [each for each in made()["components"] if each["purl"] == f"pkg:pypi/{package}"]
    told = [each["value"] for each in found.get("properties", []) if each["name"] == HASH]
    assert sorted(told) == hashes


def test_it_is_the_same_for_the_same_image_and_of_another_number_for_another() -> None:
    arguments = {"made": MADE, "image": IMAGE, "system": SYSTEM}
    again = {**dict(reversed(INSTALLED.items()))}
    assert sbom(installed=INSTALLED, **arguments) == sbom(installed=again, **arguments)  # type: ignore[arg-type]
    first = made()
    assert first["metadata"]["timestamp"] == "2026-11-21T14:03:11+00:00"
    other = made(image=IMAGE._replace(id="sha256:9"))
    assert other["serialNumber"] != first["serialNumber"]


def test_a_base_without_a_name_and_a_system_that_says_nothing_are_no_trouble() -> None:
    bill = made(made=msgspec.structs.replace(MADE, base=DIGEST), system="")
    names = {each["name"] for each in bill["components"]}
    assert names == {"base", "other-thing", "tiny", "pip"}
