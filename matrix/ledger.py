"""The ledger: evidence about published wheels, one small JSON a wheel, written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import msgspec
from packaging.version import InvalidVersion, Version

from matrix.errors import ConfigurationError, OutsideError
from matrix.evidence.record import WheelEvidence
from matrix.vocabulary import MACHINES
from matrix.wholefile import write

FOLDER = Path(__file__).parent / "ledger"

_DECODER = msgspec.json.Decoder(WheelEvidence)


class Ledger:
    """One folder of records: `<package>/<wheel file name>.json`.

    A record is an immutable fact about one file (name and SHA-256). Of build-tagged duplicates of one
    release on one machine all are kept; the highest tag, which pip takes, is current and the others
    are superseded.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder

    def read(self) -> tuple[WheelEvidence, ...]:
        """Read every record, superseded ones too, by package, version and file name.

        Raises ConfigurationError naming a record that cannot be read.
        """
        records = [self._load(path) for path in self.folder.glob("*/*.json")]
        return tuple(sorted(records, key=_order))

    def current(self) -> tuple[WheelEvidence, ...]:
        """Read every record that pip would choose today: of duplicates the highest build tag."""
        return current(self.read())

    def find(self, package: str, version: str, machine: str) -> WheelEvidence | None:
        """Return the current record of a release on a machine, or None where there is none."""
        held = [self._load(path) for path in self.folder.glob(f"{package}/*.json")]
        fitting = [
            record
            for record in held
            if record.machine in (machine, "any") and Version(record.version) == Version(version)
        ]
        return max(fitting, key=_order, default=None)

    def write(self, evidence: WheelEvidence) -> Path:
        """Write one record, atomically: a reader sees the old file, the new one, or none.

        Raises OutsideError where the disk refuses.
        """
        path = self.folder / evidence.package / f"{evidence.filename}.json"
        text = msgspec.json.format(msgspec.json.encode(evidence), indent=1)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutsideError(f"{path}: {error.strerror}") from error
        write(path, text + b"\n")
        return path

    def _load(self, path: Path) -> WheelEvidence:
        try:
            record = _DECODER.decode(path.read_bytes())
            Version(record.version)
        except OSError as error:
            raise ConfigurationError(f"{path}: {error.strerror}") from error
        except (msgspec.DecodeError, InvalidVersion) as error:
            raise ConfigurationError(f"{path}: {error}; delete it and refresh") from error
        if (record.package, f"{record.filename}.json") != (path.parent.name, path.name):
            raise ConfigurationError(f"{path}: is about another wheel; delete it and refresh")
        return record


def current(records: tuple[WheelEvidence, ...]) -> tuple[WheelEvidence, ...]:
    """Keep of each release on each machine the record that pip would choose: the highest build tag."""
    chosen: dict[tuple[str, str, str], WheelEvidence] = {}
    for record in sorted(records, key=_order):
        chosen[record.package, record.version, record.machine] = record
    return tuple(chosen.values())


def _order(record: WheelEvidence) -> tuple[str, Version, int, int, str]:
    digits = record.build[: len(record.build) - len(record.build.lstrip("0123456789"))]
    machine = MACHINES.index(record.machine) if record.machine in MACHINES else len(MACHINES)
    return (record.package, Version(record.version), machine, int(digits or -1), record.filename)
