from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from images.owner import Owner, dead, me, owner


def test_a_word_is_read_as_it_was_written() -> None:
    assert owner(me().word) == me()
    assert me().pid == os.getpid()


@pytest.mark.parametrize("word", ["", "host:123", "a/b/c/x/d", "a/b/c/1", "a/b/c/1/d/e"])
def test_what_is_no_owner_is_none(word: str) -> None:
    assert owner(word) is None


def test_who_lives_is_not_dead() -> None:
    assert not dead(me(), running=True)
    assert not dead(me(), running=False)


def test_who_has_ended_is_dead_whether_what_it_owns_runs_or_not() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        stat = Path(f"/proc/{child.pid}/stat").read_text(encoding="ascii")
        one = me()._replace(pid=child.pid, start=stat.rpartition(")")[2].split()[19])
        assert not dead(one, running=True)
        child.kill()
        child.wait()
    assert dead(one, running=True)
    assert dead(one, running=False)


def test_a_child_that_nobody_has_waited_for_is_dead() -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as child:
        stat = Path(f"/proc/{child.pid}/stat").read_text(encoding="ascii")
        one = me()._replace(pid=child.pid, start=stat.rpartition(")")[2].split()[19])
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert dead(one, running=True)


def test_a_pid_that_was_given_to_another_process_is_not_its_first_owner() -> None:
    assert dead(me()._replace(start="1"), running=True)


def test_after_a_reboot_what_does_not_run_has_no_owner() -> None:
    before = me()._replace(boot="another")
    assert dead(before, running=False)
    assert not dead(before, running=True), "nothing lives through a reboot: it is another machine's"


@pytest.mark.parametrize(
    "change", [{"node": "another"}, {"space": "pid:[1]", "start": "1"}, {"boot": ""}, {"start": ""}]
)
def test_of_whom_nobody_here_can_tell_is_never_dead(change: dict[str, str]) -> None:
    one = Owner(**{**me()._asdict(), **change})
    assert not dead(one, running=True)
    assert not dead(one, running=False)


def test_where_there_is_no_proc_nobody_is_dead(tmp_path: Path) -> None:
    assert me(tmp_path).boot == ""
    assert not dead(me()._replace(start="1"), running=False, proc=tmp_path)


def test_a_process_that_proc_hides_is_not_dead(tmp_path: Path) -> None:
    """As with hidepid, which hides other users' processes."""
    (tmp_path / "sys/kernel/random").mkdir(parents=True)
    (tmp_path / "sys/kernel/random/boot_id").write_text("a boot\n")
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "self/ns/pid").symlink_to("pid:[1]")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        one = Owner(me().node, "a boot", "pid:[1]", child.pid, "77")
        assert not dead(one, running=True, proc=tmp_path)
        child.kill()
        child.wait()
    assert dead(one, running=True, proc=tmp_path)
