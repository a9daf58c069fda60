from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from images.locks import Ask, ask, found, held
from matrix.errors import ConfigurationError, NotFoundError, OutsideError
from matrix.evidence.lock import Wanted
from matrix.evidence.lockfile import Lock

LOCK = Lock(text="alpha==1.0 \\\n    --hash=sha256:0\n", glibc="2.28")
WANTED = Wanted(requirements=("alpha==1.0",))


def asked(**changes: Any) -> Ask:
    told = {"machine": "x86_64", "python": "3.12", "environment": "slim", **changes}
    return ask(told.pop("stack", "alpha==1.0"), told.pop("wanted", WANTED), **told)


def never() -> Lock:
    raise AssertionError("it was resolved again")


def test_a_lock_is_made_once_and_then_taken_from_where_it_is_kept(tmp_path: Path) -> None:
    made = found(asked(), tmp_path / "locks", lambda: LOCK)
    again = found(asked(), tmp_path / "locks", never)
    assert made == again
    assert again.versions == {"alpha": "1.0"}
    assert again.glibc == "2.28"
    assert [p.name for p in (tmp_path / "locks").iterdir()] == ["alpha==1.0-slim-x86_64-cp312.txt"]


@pytest.mark.parametrize(
    "change",
    [
        {"wanted": Wanted(requirements=("alpha==1.1",))},
        {"wanted": Wanted(requirements=("alpha==1.0",), overrides=("beta",))},
        {"stack": "alpha==1 0"},
    ],
)
def test_a_lock_of_another_question_is_not_taken(tmp_path: Path, change: dict[str, Any]) -> None:
    found(asked(), tmp_path, lambda: LOCK)
    other = asked(**change)
    (tmp_path / asked().filename).rename(tmp_path / other.filename)
    assert held(other, tmp_path) is None


def test_each_environment_machine_and_python_has_a_file_of_its_own() -> None:
    changes: list[dict[str, str]] = [
        *({}, {"environment": "devel"}, {"machine": "aarch64"}, {"python": "3.13"}),
    ]
    assert len({asked(**each).filename for each in changes}) == len(changes)


def test_relock_resolves_again(tmp_path: Path) -> None:
    found(asked(), tmp_path, lambda: LOCK)
    newer = Lock(text="alpha==1.1 --hash=sha256:1\n", glibc="2.35")
    assert found(asked(), tmp_path, lambda: newer, again=True).versions == {"alpha": "1.1"}
    assert found(asked(), tmp_path, never).glibc == "2.35"


def test_every_lock_has_what_the_probes_run_on_and_devel_has_ninja_too() -> None:
    assert asked(environment="devel").wanted.requirements == ("alpha==1.0", "pytest", "ninja")
    assert asked().wanted.requirements == ("alpha==1.0", "pytest")


def test_a_stacks_name_is_neither_a_path_nor_a_line_of_the_lock(tmp_path: Path) -> None:
    name = "../../x/y\n--index-url http://elsewhere.example"
    made = found(asked(stack=name), tmp_path, lambda: LOCK)
    assert next(line for line in made.text.splitlines() if "index" in line)[0] == "#"
    assert made.versions == {"alpha": "1.0"}
    (file,) = tmp_path.rglob("*.txt")
    assert file.parent == tmp_path


def test_what_does_not_resolve_leaves_no_lock(tmp_path: Path) -> None:
    def fails() -> Lock:
        raise NotFoundError("no such release")

    with pytest.raises(NotFoundError):
        found(asked(), tmp_path, fails)
    assert not list(tmp_path.iterdir())


def test_a_lock_that_cannot_be_read_or_kept_is_told_by_its_place(tmp_path: Path) -> None:
    (tmp_path / asked().filename).write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match=r"cp312\.txt: cannot be read"):
        held(asked(), tmp_path)
    with pytest.raises(OutsideError, match="cp312"):
        found(asked(), tmp_path / asked().filename, lambda: LOCK, again=True)
