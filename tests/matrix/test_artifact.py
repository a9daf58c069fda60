from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path

import pytest

from matrix import artifact
from matrix.artifact import lines
from matrix.errors import ConfigurationError


def read(folder: Path) -> tuple[list[tuple[str, bytes]], list[str]]:
    complaints: list[str] = []
    return [(one.run, one.line) for one in lines(folder, complaints.append)], complaints


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("place", ["", "results-a", "results-a/results"])
def test_results_are_found_wherever_the_download_put_them(tmp_path: Path, place: str) -> None:
    folder = tmp_path / place
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "one.jsonl").write_bytes(b"1\n\n2\n")
    (folder / "one.log").write_text("no result")
    assert read(tmp_path) == ([("one", b"1\n"), ("one", b"2\n")], [])


def test_results_are_read_out_of_a_zip_file_without_unpacking_it(tmp_path: Path) -> None:
    zipped(tmp_path / "results-a.zip", {"results/one.jsonl": b"1\n", "one.log": b"no"})
    assert read(tmp_path) == ([("one", b"1\n")], [])
    assert [each.name for each in tmp_path.iterdir()] == ["results-a.zip"]


@pytest.mark.parametrize(
    "name", ["../../evil.jsonl", "/etc/evil.jsonl", "C:\\x\\..\\evil.jsonl", "a/../../evil.jsonl"]
)
def test_a_path_in_a_zip_file_is_never_used(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    zipped(folder / "a.zip", {name: b"1\n"})
    found, _ = read(folder)
    assert {run for run, _ in found} <= {"evil"}
    assert [each.name for each in tmp_path.iterdir()] == ["in"]
    assert [each.name for each in folder.iterdir()] == ["a.zip"]


@pytest.mark.parametrize(
    "name",
    [
        "::error::x.jsonl",
        "-rf.jsonl",
        ".hidden.jsonl",
        "a b.jsonl",
        "ä.jsonl",
        "x" * 120 + ".jsonl",
    ],
)
def test_a_name_that_is_no_runs_is_left(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"1\n")
    assert read(tmp_path) == ([], [])


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    secret, folder = tmp_path / "secret.jsonl", tmp_path / "in"
    secret.write_bytes(b"secret\n")
    folder.mkdir()
    (folder / "one.jsonl").symlink_to(secret)
    (folder / "two").symlink_to(tmp_path)
    os.mkfifo(folder / "three.jsonl")
    found, complaints = read(folder)
    assert found == []
    assert len(complaints) == 3


def test_a_link_in_a_zip_file_is_left_out(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        member = zipfile.ZipInfo("one.jsonl")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(member, "/etc/passwd")
    found, complaints = read(tmp_path)
    assert (found, len(complaints)) == ([], 1)


@pytest.mark.parametrize("cut", [0, 10, 60])
def test_a_damaged_zip_file_is_told(tmp_path: Path, cut: int) -> None:
    path = zipped(tmp_path / "a.zip", {"one.jsonl": b"1\n" * 100})
    path.write_bytes(path.read_bytes()[:cut])
    found, complaints = read(tmp_path)
    assert found == []
    assert complaints[0].startswith("a.zip: cannot be read")


def test_a_bomb_is_read_up_to_what_results_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifact, "_MOST_BYTES", 1000)
    zipped(tmp_path / "a.zip", {"one.jsonl": b"1\n" * 10_000_000})
    found, complaints = read(tmp_path)
    assert len(found) == 500
    assert complaints == ["a.zip: one.jsonl: is larger than results can be; the rest is left out"]


def test_all_files_together_have_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifact, "_MOST_TOTAL", 5)
    for name in "abcd":
        (tmp_path / f"{name}.jsonl").write_bytes(b"1\n")
    found, complaints = read(tmp_path)
    assert (len(found), len(complaints)) == (2, 2)


def test_lines_have_a_bound_whatever_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifact, "_MOST_LINES", 3)
    zipped(tmp_path / "a.zip", {"one.jsonl": b"\n" * 1000 + b"1\n", "two.jsonl": b"1\n"})
    found, complaints = read(tmp_path)
    assert (found, len(complaints)) == ([], 2)


def test_a_zip_file_too_large_to_list_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifact, "_MOST_ZIPPED", 10)
    zipped(tmp_path / "a.zip", {"one.jsonl": b"1\n"})
    assert read(tmp_path) == ([], ["a.zip: is larger than results can be, and left out"])


def test_of_a_line_that_is_too_long_only_the_beginning_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifact, "LONGEST", 4)
    (tmp_path / "a.jsonl").write_bytes(b"123456789\n5\n")
    assert read(tmp_path)[0] == [("a", b"1234"), ("a", b"5\n")]


def test_files_without_end_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifact, "_MOST_FILES", 2)
    for name in "abc":
        (tmp_path / f"{name}.jsonl").write_bytes(b"1\n")
    found, complaints = read(tmp_path)
    assert (len(found), complaints) == (2, ["more than 2 files: the rest is left out"])


def test_folders_in_folders_have_an_end(tmp_path: Path) -> None:
    deep = tmp_path / "a/b/c/d/e"
    deep.mkdir(parents=True)
    (deep / "one.jsonl").write_bytes(b"1\n")
    assert read(tmp_path) == ([], ["e: folders in folders are left out"])


def test_no_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is no folder of artifacts"):
        list(lines(tmp_path / "none", print))
