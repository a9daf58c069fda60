"""What is published: the releases that the index listed, and the records of those that were read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from matrix.errors import ConfigurationError
from matrix.evidence.record import WheelEvidence
from matrix.evidence.wheelfile import SdistFile, WheelFile
from matrix.ledger import FOLDER, current
from matrix.model import Model

LISTING: Final = "releases.json"


class Listing(Model, frozen=True, kw_only=True):
    """Which releases the index had on a day: package, version, and for which machines it has a wheel.

    A machine is "x86_64", "aarch64" or "any"; no machine at all is a release published as source only.
    """

    listed: str
    packages: dict[str, dict[str, tuple[str, ...]]]


def read_listing(folder: Path = FOLDER) -> Listing:
    """Read the listing that stands beside the records; an absent one knows no release.

    Raises ConfigurationError where it cannot be read.
    """
    path = folder / LISTING
    try:
        return msgspec.json.decode(path.read_bytes(), type=Listing)
    except FileNotFoundError:
        return Listing(listed="", packages={})
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from error


def listing_of(day: str, files: Iterable[WheelFile], sources: Iterable[SdistFile] = ()) -> Listing:
    """Fold what the index listed on `day` into package, version and machines; yanked files are left out."""
    packages: dict[str, dict[str, set[str]]] = {}
    listed: tuple[WheelFile | SdistFile, ...] = (*files, *sources)
    for file in listed:
        if file.yanked:
            continue
        machines = packages.setdefault(file.package, {}).setdefault(file.version, set())
        if isinstance(file, WheelFile):
            machines.add(file.machine)
    return Listing(
        listed=day,
        packages={
            package: {
                version: tuple(sorted(packages[package][version]))
                for version in sorted(packages[package], key=Version, reverse=True)
            }
            for package in sorted(packages)
        },
    )


class Published:
    """Records and listing, looked up by package, version and machine."""

    def __init__(self, records: Sequence[WheelEvidence], listing: Listing) -> None:
        self._listing = listing
        self._records: dict[str, dict[str, dict[str, WheelEvidence]]] = {}
        for record in current(tuple(records)):
            versions = self._records.setdefault(record.package, {})
            versions.setdefault(record.version, {})[record.machine] = record
        self._superseded: dict[tuple[str, str, str], tuple[str, ...]] = {}
        for record in records:
            if record is not self._records[record.package][record.version][record.machine]:
                key = (record.package, record.version, record.machine)
                self._superseded[key] = (*self._superseded.get(key, ()), record.filename)
        self._ordered: dict[tuple[str, str], tuple[str, ...]] = {}

    def record(self, package: str, version: str, machine: str) -> WheelEvidence | None:
        """Return what was read in the wheel of a release for a machine, or None."""
        held = self._records.get(package, {}).get(version, {})
        return held.get(machine) or held.get("any")

    def superseded(self, package: str, version: str, machine: str) -> tuple[str, ...]:
        """Return the file names of the wheels that a later build of the same release replaced."""
        return self._superseded.get((package, version, machine), ())

    def records(self, package: str) -> Mapping[str, Mapping[str, WheelEvidence]]:
        """Return the records of a package by version and machine."""
        return self._records.get(package, {})

    def versions(self, package: str, machine: str) -> tuple[str, ...]:
        """Return the releases with a wheel for a machine, newest first, pre-releases last."""
        key = (package, machine)
        if key not in self._ordered:
            listed = {
                version
                for version, machines in self._listing.packages.get(package, {}).items()
                if machine in machines or "any" in machines
            }
            read = {
                version
                for version, machines in self._records.get(package, {}).items()
                if machine in machines or "any" in machines
            }
            order = sorted(map(Version, listed | read), reverse=True)
            order.sort(key=lambda version: version.is_prerelease)
            self._ordered[key] = tuple(map(str, order))
        return self._ordered[key]

    def has_wheel(self, package: str, version: str, machine: str) -> bool | None:
        """Say whether the index has a wheel of a release for a machine; None where it was not asked."""
        if self.record(package, version, machine):
            return True
        machines = self._listing.packages.get(package, {}).get(version)
        return None if machines is None else machine in machines or "any" in machines

    def spelled(self, package: str, version: str) -> str:
        """Return a version as its release is named: 13.0.3 is published as 13.0.3.0; itself where it is not."""
        listed = self._listing.packages.get(package, {})
        if version in listed or version in self._records.get(package, {}):
            return version
        return next((each for each in listed if Version(each) == Version(version)), version)

    def source_only(self, package: str, version: str) -> bool:
        """Say whether the index has a release as source and no wheel of it for any machine."""
        return self._listing.packages.get(package, {}).get(version) == ()

    def newest(self, package: str, wanted: SpecifierSet, machine: str) -> str | None:
        """Return the newest release with a wheel for `machine` that a requirement admits, as pip would."""
        for version in self.versions(package, machine):
            if wanted.contains(version, prereleases=bool(wanted.prereleases)):
                return version
        return None
