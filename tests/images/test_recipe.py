from __future__ import annotations

import re
import string

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from images.recipe import Recipe, dockerfile, fingerprint, labels, recipe, requirements, tag
from matrix.errors import ConfigurationError
from matrix.evidence.lockfile import Lock
from matrix.vocabulary import Environment

BASE = f"ubuntu@sha256:{'0' * 64}"
HASH = f"--hash=sha256:{'a' * 64}"
TEXT = f"""\
# a stack
alpha==1.0 \\
    {HASH} \\
    --hash=sha256:{"b" * 64}
    # via beta
Beta-Two==2.0+cpu {HASH}
"""


def made(
    text: str = TEXT,
    *,
    base: str = BASE,
    python: str = "3.12",
    stack: str = "s",
    environment: Environment = "slim",
) -> Recipe:
    return recipe(
        Lock(text=text, glibc="2.28"),
        stack=stack,
        machine="x86_64",
        environment=environment,
        python=python,
        base=base,
    )


def instructions(text: str) -> list[str]:
    """The words that open the instructions of a Dockerfile."""
    joined = re.sub(r"\\\n", " ", text)
    return [line.split()[0] for line in joined.splitlines() if line.strip() and line[0] != "#"]


ORDER = [
    *("FROM", "RUN", "RUN"),
    *("FROM", "LABEL", "COPY", "ENV", "RUN"),
    *("FROM", "LABEL", "COPY", "COPY", "ENV", "LABEL", "WORKDIR", "USER"),
]


def test_an_image_stands_on_its_base_and_runs_as_nobody_in_particular() -> None:
    text = dockerfile(made())
    assert instructions(text) == ORDER
    assert f"FROM {BASE} AS interpreter\n" in text
    assert text.endswith("USER stack\n")
    assert "nvfp4-matrix.pin.alpha=1.0 \\\n      nvfp4-matrix.pin.beta-two=2.0+cpu\n" in text


def test_what_the_installation_alone_needs_is_in_no_layer_of_the_image() -> None:
    _, installation, image = dockerfile(made()).split("\n\nFROM ")
    assert "COPY pip.conf ca.pem lock.txt /build/" in installation
    assert not any(word in image for word in ("pip.conf", "ca.pem", "/build"))
    assert image.startswith("interpreter\n")
    assert "ARG" not in instructions(dockerfile(made()))


def test_devel_asks_for_the_compiler_of_the_stacks_own_cuda() -> None:
    text = TEXT + f"nvidia-cuda-runtime==13.0.96 {HASH}\n"
    assert "release 13.0'" in dockerfile(made(text, environment="devel"))
    assert "nvcc" not in dockerfile(made(text))
    with pytest.raises(ConfigurationError, match="which CUDA's compiler"):
        made(environment="devel")


def test_labels_name_the_stack_the_base_and_the_fingerprint() -> None:
    told = labels(made(stack="mine $HOME\nRUN id"))
    assert told["nvfp4-matrix.stack"] == "mine $HOME\nRUN id"
    assert told["org.opencontainers.image.base.digest"] == f"sha256:{'0' * 64}"
    assert told["org.opencontainers.image.base.name"] == "ubuntu"
    digits = fingerprint(made())
    assert dockerfile(made()).count(f"\nLABEL nvfp4-matrix.fingerprint={digits}\n") == 2
    assert "org.opencontainers.image.base.name" not in labels(made(base=f"sha256:{'0' * 64}"))


@pytest.mark.parametrize(
    "base",
    [
        "ubuntu:24.04",
        "ubuntu",
        f"ubuntu@sha256:{'0' * 63}",
        f"ubuntu@sha256:{'0' * 64}\nRUN id",
        f"ubuntu@sha256:{'0' * 64} AS x",
        f"--platform=x ubuntu@sha256:{'0' * 64}",
        f"$(id)@sha256:{'0' * 64}",
        f"${{X}}@sha256:{'0' * 64}",
        f"sha256:{'0' * 64}\\",
        f"{'a' * 500}@sha256:{'0' * 64}",
        "",
    ],
)
def test_a_base_without_a_digest_or_with_more_is_refused(base: str) -> None:
    with pytest.raises(ConfigurationError, match="by digest"):
        made(base=base)


@pytest.mark.parametrize(
    "base",
    [
        f"sha256:{'0' * 64}",
        f"nvidia/cuda:13.0.1-devel-ubuntu24.04@sha256:{'f' * 64}",
        f"registry.example:5000/a/b__c.d-e@sha256:{'f' * 64}",
    ],
)
def test_a_base_by_digest_is_taken(base: str) -> None:
    assert f"FROM {base} AS" in dockerfile(made(base=base))


hostile = st.text(
    alphabet=st.sampled_from(
        string.ascii_letters + string.digits + "\n\r\\ $`'\";|&#{}%@:=./-+\0é"
    ),
    max_size=60,
)


@given(base=hostile, python=hostile)
def test_nothing_smuggles_an_instruction_in_by_base_or_python(base: str, python: str) -> None:
    for told in ({"base": base}, {"base": f"{base}@sha256:{'0' * 64}"}, {"python": python}):
        try:
            text = dockerfile(made(**told))  # type: ignore[arg-type]
        except ConfigurationError:
            continue
        assert instructions(text) == ORDER


@given(name=hostile, version=hostile)
def test_nothing_smuggles_an_instruction_in_by_a_lock_or_a_name(name: str, version: str) -> None:
    try:
        text = dockerfile(made(f"{TEXT}{name}=={version} {HASH}\n", stack=name))
    except ConfigurationError:
        return
    assert instructions(text) == ORDER
    assert not set("$`'\";|&#") & set(text[text.index("LABEL nvfp4-matrix.pin") :])


@pytest.mark.parametrize(
    "line",
    [
        "gamma==1.0",
        "--index-url http://elsewhere.example/simple",
        "-r other.txt",
        "gamma @ file:///gamma.whl",
        f"gamma==1.0$(id) {HASH}",
        f"gamma==latest {HASH}",
        f"alpha==1.1 {HASH}",
    ],
)
def test_a_lock_that_is_more_than_pins_with_hashes_is_refused(line: str) -> None:
    with pytest.raises(ConfigurationError, match="pins"):
        made(f"{TEXT}{line}\n")


words = st.text(alphabet=string.ascii_lowercase, min_size=1, max_size=8)
locked = st.dictionaries(words, st.integers(0, 99), min_size=1, max_size=5)


def lines(pins: dict[str, int]) -> list[str]:
    return [f"{name}=={version} {HASH}" for name, version in pins.items()]


@given(pins=locked, comment=words, data=st.data())
def test_order_comments_and_line_ends_of_a_lock_do_not_change_the_fingerprint(
    pins: dict[str, int], comment: str, data: st.DataObject
) -> None:
    plain = made("\n".join(lines(pins)))
    turned = data.draw(st.permutations(lines(pins)))
    text = f"# {comment}\n" + f"\n    # {comment}\n".join(turned).replace(
        " --hash", " \\\n    --hash"
    )
    assert fingerprint(made(text)) == fingerprint(plain)
    assert tag(made(text)) == tag(plain)


@given(pins=locked, name=words, version=st.integers(0, 99))
def test_another_pin_is_another_image(pins: dict[str, int], name: str, version: int) -> None:
    other = {**pins, name: version}
    same = other == pins
    before, after = (fingerprint(made("\n".join(lines(each)))) for each in (pins, other))
    assert (before == after) is same


def test_everything_that_decides_what_is_in_it_changes_the_fingerprint() -> None:
    first = made()
    found = {fingerprint(first)}
    for change in (
        {"stack": "t"},
        {"machine": "aarch64"},
        {"environment": "devel"},
        {"python": "3.13"},
        {"base": f"ubuntu@sha256:{'1' * 64}"},
        {"cuda": "13.0"},
        {"lock": (*first.lock, "z")},
        {"pins": {"alpha": "1.1"}},
        {"sources": {"alpha": "https://host/alpha@0"}},
    ):
        found.add(fingerprint(msgspec.structs.replace(first, **change)))
    assert len(found) == 1 + 9
    assert {*Recipe.__struct_fields__} == {
        *("stack", "machine", "environment", "python", "base", "cuda", "lock", "pins", "sources")
    }


def test_another_dockerfile_is_another_image(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(made())
    monkeypatch.setattr("images.recipe.UID", 10002)
    assert fingerprint(made()) != before


def test_the_fingerprint_is_kept_from_release_to_release() -> None:
    """Change this with the Dockerfile, and with nothing else: every image is built again then."""
    assert tag(made()) == "nvfp4-matrix:6e22ce68b9d8b7e883d1"


def test_requirements_are_one_line_each_and_in_order() -> None:
    assert requirements("b==1 \\\n  --hash=x\n\n# c\n  # d\na==2\r\n") == ("a==2", "b==1 --hash=x")
