"""What a wheel's own requirements come to on one machine."""

from __future__ import annotations

import msgspec
import pytest
from packaging.specifiers import SpecifierSet

from matrix.derive import adds, derive
from matrix.evidence.record import WheelEvidence
from matrix.evidence.wheelfile import parse_sdist, parse_wheel
from matrix.ledger import Ledger
from matrix.published import Listing, Published, listing_of, read_listing

PACKAGES = frozenset(
    {
        "vllm",
        "torch",
        "flashinfer-python",
        "flashinfer-cubin",
        "nvidia-cutlass-dsl",
        "nvidia-cudnn-cu13",
    }
)


def wheel(
    package: str, version: str, *requires: str, machine: str = "any", extras: tuple[str, ...] = ()
) -> WheelEvidence:
    return WheelEvidence(
        package=package,
        version=version,
        machine=machine,
        filename=f"{package}-{version}-{machine}.whl",
        sha256="0" * 64,
        bytes_total=1,
        bytes_fetched=1,
        measured="2026-11-21",
        requires=requires,
        extras=extras,
    )


def published(*records: WheelEvidence, **listed: dict[str, tuple[str, ...]]) -> Published:
    packages = {name.replace("_", "-"): versions for name, versions in listed.items()}
    return Published(records, Listing(listed="2026-11-21", packages=packages))


def pins(known: Published, machine: str = "x86_64", **more: object) -> dict[str, str]:
    stack = derive("vllm==1", {"vllm": "1"}, machine, known, PACKAGES, **more)  # type: ignore[arg-type]
    return {pin.package: pin.version for pin in stack.pins}


def test_an_exact_requirement_is_that_version_and_what_it_requires_follows() -> None:
    known = published(
        wheel("vllm", "1", "torch==2.14.0", "numpy", "flashinfer-python==0.7.2"),
        wheel("torch", "2.14.0", "nvidia-cudnn-cu13==9.24.0.43; platform_system == 'Linux'"),
    )
    assert pins(known) == {
        "vllm": "1",
        "torch": "2.14.0",
        "flashinfer-python": "0.7.2",
        "nvidia-cudnn-cu13": "9.24.0.43",
    }


def test_a_package_that_nothing_requires_is_absent() -> None:
    assert pins(published(wheel("vllm", "1", "torch==2.6.0"))) == {"vllm": "1", "torch": "2.6.0"}


def test_markers_are_those_of_the_machine() -> None:
    text = "torch==2.8.0; platform_machine == 'x86_64'"
    known = published(wheel("vllm", "1", text))
    assert "torch" in pins(known, "x86_64")
    assert "torch" not in pins(known, "aarch64")


def test_an_extra_brings_its_own_requirements() -> None:
    known = published(
        wheel(
            "vllm", "1", "flashinfer-python==0.3.0; extra == 'flashinfer'", extras=("flashinfer",)
        )
    )
    assert pins(known) == {"vllm": "1"}
    assert pins(known, extras=["flashinfer"])["flashinfer-python"] == "0.3.0"


def test_an_extra_that_asks_for_nothing_of_concern_makes_no_stack() -> None:
    record = wheel(
        "vllm", "1", "torch==2", "torch==2; extra == 'same'", "x; extra == 'other'",
        extras=("same", "other", "empty"),
    )  # fmt: skip
    assert not any(adds(record, extra, PACKAGES) for extra in ("same", "other", "empty", "absent"))


def test_a_range_is_the_newest_release_that_all_requirements_admit() -> None:
    known = published(
        wheel("vllm", "1", "flashinfer-python==0.6.1", "nvidia-cutlass-dsl<4.6"),
        wheel("flashinfer-python", "0.6.1", "nvidia-cutlass-dsl>=4.3"),
        nvidia_cutlass_dsl={"4.8.0": ("any",), "4.5.2": ("any",), "4.4.0": ("any",), "4.5.9": ()},
    )
    assert pins(known)["nvidia-cutlass-dsl"] == "4.5.2"


def test_a_pre_release_is_not_chosen_by_a_range() -> None:
    known = published(
        wheel("vllm", "1", "torch>=2"), torch={"2.15.0rc1": ("any",), "2.14.0": ("any",)}
    )
    assert pins(known)["torch"] == "2.14.0"


def test_a_release_without_a_wheel_for_the_machine_is_a_pin_that_says_why() -> None:
    known = published(wheel("vllm", "1", "torch==2.6.0"), torch={"2.6.0": ("x86_64",)})
    stack = derive("vllm==1", {"vllm": "1"}, "aarch64", known, PACKAGES)
    assert stack.pins[1].version == ""
    assert stack.pins[1].why == "no wheel for aarch64 satisfies ==2.6.0"


def test_a_release_that_is_published_as_source_only_is_still_pinned() -> None:
    known = published(
        wheel("vllm", "1", "flashinfer-python==0.3.0"), flashinfer_python={"0.3.0": ()}
    )
    assert pins(known)["flashinfer-python"] == "0.3.0"


def test_what_was_written_by_hand_is_not_overruled() -> None:
    known = published(
        wheel("vllm", "1", "torch==2.11.0"),
        wheel("torch", "2.11.0", "nvidia-cudnn-cu13==9.19.0.56"),
    )
    stack = derive(
        "mine", {"vllm": "1", "nvidia-cudnn-cu13": "9.24.0.43"}, "x86_64", known, PACKAGES
    )
    assert stack.version("nvidia-cudnn-cu13") == "9.24.0.43"
    assert stack.version("torch") == "2.11.0"


@pytest.mark.parametrize("text", ["torch==", "torch @ file:///x", ";;", "torch==1; extra ==", ""])
def test_a_requirement_that_cannot_be_read_is_passed_over(text: str) -> None:
    stack = derive(
        "vllm==1", {"vllm": "1"}, "x86_64", published(wheel("vllm", "1", text)), PACKAGES
    )
    assert stack.lead.version == "1"


def test_packages_that_require_each_other_come_to_an_end() -> None:
    known = published(
        wheel("vllm", "1", "torch==2"),
        wheel("torch", "2", "flashinfer-python==3"),
        wheel("flashinfer-python", "3", "torch==2", "vllm==1"),
    )
    assert pins(known) == {"vllm": "1", "torch": "2", "flashinfer-python": "3"}


def test_of_build_tagged_duplicates_the_highest_is_current() -> None:
    first, second = (wheel("vllm", "1", machine="x86_64") for _ in range(2))

    tagged = msgspec.structs.replace(second, build="1", filename="vllm-1-1-x86_64.whl")
    assert (
        Published([tagged, first], Listing(listed="", packages={})).record("vllm", "1", "x86_64")
        is tagged
    )


def test_the_listing_keeps_machines_and_leaves_yanked_files_out() -> None:
    names = [
        "vllm-1.0-cp38-abi3-manylinux1_x86_64.whl",
        "vllm-1.0-cp38-abi3-manylinux2014_aarch64.whl",
    ]
    files = [f for name in names if (f := parse_wheel(name, "https://x.test/" + name))]
    gone = parse_wheel("vllm-2.0-py3-none-any.whl", "https://x.test/y", yanked=True)
    source = parse_sdist("vllm-0.9.tar.gz", "https://x.test/z")
    assert gone
    assert source
    listing = listing_of("2026-11-21", [*files, gone], [source])
    assert listing.packages == {"vllm": {"1.0": ("aarch64", "x86_64"), "0.9": ()}}
    known = Published([], listing)
    assert known.has_wheel("vllm", "1.0", "aarch64") is True
    assert known.has_wheel("vllm", "0.9", "aarch64") is False
    assert known.has_wheel("vllm", "3.0", "aarch64") is None
    assert known.newest("vllm", SpecifierSet(">=0.5"), "x86_64") == "1.0"


def test_the_listing_that_comes_with_the_program_can_be_read() -> None:
    assert "vllm" in read_listing(Ledger().folder).packages


def test_a_version_is_found_under_the_name_that_its_release_has() -> None:
    known = published(
        wheel("vllm", "1", "torch==2.13"),
        wheel("torch", "2.13.0", "nvidia-cudnn-cu13==9.24.0.43"),
        torch={"2.13.0": ("x86_64",)},
    )
    assert pins(known) == {"vllm": "1", "torch": "2.13.0", "nvidia-cudnn-cu13": "9.24.0.43"}
