"""What is in an image as a bill of materials (CycloneDX): packages of the index and of the system, and the base. Pure."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final

from cyclonedx.model import Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.utils import canonicalize_name

from images.engine import Image
from images.recipe import NAME, Recipe, fingerprint

HASH: Final = f"{NAME}:sha256"
"""The property that holds a file's hash: the lock allows any file of that release, and one of them was installed."""

_HASHED: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


def sbom(made: Recipe, image: Image, installed: Mapping[str, str], system: str) -> bytes:
    """Return the bill of an image, the same bytes for the same image.

    `system`: "ID VERSION_ID" of its os-release, then a line for each package of it: name, version, architecture.
    """
    digits = fingerprint(made)
    whole = Component(
        type=ComponentType.CONTAINER,
        name=made.stack,
        version=digits[:20],
        bom_ref=f"{NAME}:{digits[:20]}",
        properties=[
            Property(name=f"{NAME}:{name}", value=value)
            for name, value in (
                ("environment", made.environment),
                ("machine", made.machine),
                ("python", made.python),
                ("image", image.id),
            )
        ],
    )
    bom = Bom(
        serial_number=uuid.uuid5(uuid.NAMESPACE_OID, f"{digits} {image.id}"),
        metadata=BomMetaData(component=whole, timestamp=_made(image.created)),
        components=[_base(made), *_python(made, installed), *_system(system)],
    )
    bom.register_dependency(whole, bom.components)
    return f"{JsonV1Dot6(bom).output_as_string(indent=1)}\n".encode()


def _made(created: str) -> datetime:
    """Read what an engine writes, nanoseconds and all."""
    return datetime.fromisoformat(f"{created[:19]}+00:00")


def _base(made: Recipe) -> Component:
    name, _, digest = made.base.rpartition("@")
    called = name.rpartition("/")[2].partition(":")[0] or "base"
    url = PackageURL(
        type="oci",
        name=called,
        version=digest,
        qualifiers={
            "arch": _ARCHITECTURES[made.machine],
            **({"repository_url": name} if name else {}),
        },
    )
    return _component(ComponentType.CONTAINER, name or called, digest, url)


def _python(made: Recipe, installed: Mapping[str, str]) -> Iterator[Component]:
    hashes = {
        canonicalize_name(re.split(r"[\[=; ]", line, maxsplit=1)[0]): _HASHED.findall(line)
        for line in made.lock
    }
    for name, version in {canonicalize_name(n): v for n, v in installed.items()}.items():
        url = PackageURL(type="pypi", name=name, version=version)
        # Another version than the lock's is not the lock's files either.
        known = hashes.get(name, ()) if made.pins.get(name) == version else ()
        yield _component(ComponentType.LIBRARY, name, version, url, known)


def _system(told: str) -> Iterator[Component]:
    first, *lines = told.splitlines() or [""]
    system, _, release = first.partition(" ")
    for line in lines:
        name, version, architecture = line.split("\t")
        url = PackageURL(
            type="deb",
            namespace=system,
            name=name.partition(":")[0],
            version=version,
            qualifiers={"arch": architecture, "distro": f"{system}-{release}"},
        )
        yield _component(ComponentType.LIBRARY, name.partition(":")[0], version, url)


def _component(
    kind: ComponentType, name: str, version: str, url: PackageURL, hashes: Iterable[str] = ()
) -> Component:
    properties = [Property(name=HASH, value=each) for each in hashes]
    return Component(
        type=kind, name=name, version=version, purl=url, bom_ref=str(url), properties=properties
    )
