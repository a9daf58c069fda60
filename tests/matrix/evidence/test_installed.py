from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from matrix.errors import BrokenWheelError, NotFoundError
from matrix.evidence.installed import Installed
from matrix.evidence.wheel import Wheel

if TYPE_CHECKING:
    from tests.conftest import MakeWheel


@pytest.fixture
def site(make_wheel: MakeWheel, tmp_path: Path) -> Path:
    """A site-packages folder with one distribution of two files."""
    folder = tmp_path / "site-packages"
    with zipfile.ZipFile(make_wheel("pkg", "1.0", {"pkg/a.py": b"x = 1\n", "pkg/b.py": b""})) as f:
        f.extractall(folder)
    return folder


def add_to_record(site: Path, *rows: str) -> None:
    path = site / "pkg-1.0.dist-info/RECORD"
    path.write_text(path.read_text() + "\n".join([*rows, ""]))


def test_its_files_are_those_of_record_that_are_there(site: Path) -> None:
    (site / "pkg/b.py").unlink()
    (site / "pkg/other.py").touch()
    held = Installed(site, "PKG")
    assert list(held.members()) == [
        "pkg/a.py",
        "pkg-1.0.dist-info/METADATA",
        "pkg-1.0.dist-info/WHEEL",
        "pkg-1.0.dist-info/RECORD",
    ]
    assert held.bytes_total == sum(member.size for member in held.members().values())
    assert b"".join(held.chunks("pkg/a.py")) == b"x = 1\n"


def test_scripts_outside_caches_and_odd_names_are_left_out(site: Path) -> None:
    (site.parent / "bin").mkdir()
    (site.parent / "bin/tool").touch()
    (site / "pkg/a\x1bb.py").touch()
    (site / "pkg/a.pyc").touch()
    before = list(Installed(site, "pkg").members())
    add_to_record(site, "../bin/tool,,", str(site / "pkg/a.py") + ",,", "pkg/a.pyc,,")
    add_to_record(site, '"pkg/a\x1bb.py",,', "", ",,", "pkg,,")
    assert list(Installed(site, "pkg").members()) == before


def test_a_file_that_was_edited_is_not_what_record_states(site: Path) -> None:
    (site / "pkg/a.py").write_text("x = 2\n")
    with (
        Wheel.open_installed(site, "pkg") as wheel,
        pytest.raises(BrokenWheelError, match=r"pkg/a\.py is not what RECORD states"),
    ):
        wheel.read("pkg/a.py")


def test_a_distribution_without_record_or_with_a_damaged_one_is_named(site: Path) -> None:
    record = site / "pkg-1.0.dist-info/RECORD"
    record.write_text("x" * 200_000 + ",,\n")
    with pytest.raises(BrokenWheelError, match="/RECORD: cannot be read"):
        Installed(site, "pkg")
    record.write_bytes(b"\xff\xfe,,\n")
    assert Installed(site, "pkg").members() == {}
    record.unlink()
    with pytest.raises(BrokenWheelError, match="/RECORD: No such file"):
        Installed(site, "pkg")


def test_what_is_not_installed_is_not_found(site: Path) -> None:
    with pytest.raises(NotFoundError, match="torch is not installed in "):
        Installed(site, "torch")
