"""Runs in containers of a real engine, with a real torch on the CPU: what dies, what is kept, and what goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import docker
import pytest

from images import gpu
from tests.conftest import Shelf
from tests.e2e.builds import PYTHON, line
from tests.e2e.runs import (
    STACKS,
    Daemon,
    Program,
    errors,
    fetched,
    ours,
    smi,
    until,
    whole,
)

pytestmark = pytest.mark.docker

QUICK = ("--self-test", "--only", "correctness.gemm")
LONG = ("--self-test", "--only", "correctness")
FAULT = "NVFP4_MATRIX_FAULT"


@pytest.fixture(scope="session")
def arguments(
    engine: Any, base: str, bridge: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[list[str], dict[str, str]]]:
    """Have the image built once, from an index that containers reach; return what asks for it."""
    folder = tmp_path_factory.mktemp("torch")
    (folder / "stacks.yaml").write_text(STACKS)
    asked = ["torch", "--stacks", str(folder / "stacks.yaml"), "--base", base, "--python", PYTHON]
    asked += ["--kept", str(folder / "kept")]
    (folder / "wheels").mkdir()
    with Shelf(bridge) as shelf:
        for wheel in fetched(folder / "wheels"):
            shelf.add(wheel)
        thread = threading.Thread(target=shelf.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        environment = {
            "PIP_CONFIG_FILE": "/dev/null",
            "PIP_INDEX_URL": f"{shelf.base}/simple",
            "PIP_EXTRA_INDEX_URL": "",
            "PIP_FIND_LINKS": "",
            "PIP_TRUSTED_HOST": bridge,
            "NO_PROXY": bridge,
        }
        try:
            # Without a GPU the image is built and asked all the same.
            done = Program(asked, environment, folder / "results")("--target", "sm120")
            assert "no NVIDIA GPU here" in line(done, 3)
            assert "everything is as promised" in done.stdout
        finally:
            shelf.shutdown()
            thread.join()
    yield asked, environment
    for kept in (folder / "kept").glob("*/build.log"):
        engine.images.remove(f"nvfp4-matrix:{kept.parent.name}", force=True)
    for volume in engine.volumes.list(filters={"label": "nvfp4-matrix.volume"}):
        if any(kept.parent.name in volume.name for kept in (folder / "kept").glob("*/build.log")):
            volume.remove()


@pytest.fixture
def program(
    arguments: tuple[list[str], dict[str, str]], engine: Any, tmp_path: Path
) -> Iterator[Program]:
    """The command, with results of its own; no container of a run may be left by a test."""
    yield Program(*arguments, tmp_path / "results")
    assert ours(engine) == []


def test_a_run_leaves_results_of_the_callers_and_its_log_and_nothing_else(program: Program) -> None:
    done = program(*QUICK)
    assert done.returncode == 0, done.stderr
    lines = program.lines()
    assert whole(lines)
    assert (lines[0]["target"], lines[0]["stack"]) == ("cpu", "torch")
    assert lines[0]["image"]
    assert {each.suffix for each in program.results.iterdir()} == {".jsonl", ".log"}
    assert {each.stat().st_uid for each in program.results.iterdir()} == {os.geteuid()}
    (log,) = program.results.glob("*.log")
    assert "8 passed" in log.read_text()


def test_a_container_is_closed(program: Program, engine: Any) -> None:
    with program.begun(*LONG) as process:
        until(lambda: program.came(0), process=process)
        (container,) = ours(engine)
        held, config = container.attrs["HostConfig"], container.attrs["Config"]
        mounts = {each["Destination"]: each for each in container.attrs["Mounts"]}
        told = container.exec_run("cat /proc/self/status")[1].decode()
        writable = {
            place: container.exec_run(["touch", f"{place}/x"])[0] == 0
            for place in ("/suite/probes", "/opt/stack", "/var/cache/stack", "/tmp")
        }
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert (process.returncode, err.splitlines()[-1]) == (130, "stopped")
    assert "missing" in out
    assert (held["Privileged"], held["CapDrop"]) == (False, ["ALL"])
    assert "no-new-privileges" in held["SecurityOpt"]
    assert config["NetworkDisabled"] is True
    assert not config["User"].startswith("0")
    assert "CapEff:\t0000000000000000" in told
    assert [place for place, yes in writable.items() if yes] == ["/var/cache/stack", "/tmp"]
    assert mounts.pop("/suite/probes")["RW"] is False
    assert mounts.pop("/var/cache/stack")["Type"] == "volume"
    ((inside, results),) = mounts.items()
    assert inside == f"/results/{Path(results['Source']).name}"
    assert Path(results["Source"]).parent == program.results
    again = program(*LONG)
    assert again.returncode == 0, again.stderr
    assert whole(program.lines())
    assert errors(program.lines()) == [], "who stops a run blames no check"


@pytest.mark.parametrize(
    ("fault", "reason"), [("segmentation-fault", "segfault"), ("hang", "hang")]
)
def test_what_a_planted_fault_does_is_the_result_of_its_check_alone(
    program: Program, fault: str, reason: str
) -> None:
    done = program(*QUICK, "--limit", "4", **{FAULT: fault})
    assert done.returncode == 1, done.stderr
    lines = program.lines()
    assert whole(lines)
    assert {each["reason"] for each in lines[1:] if each["status"] != "pass"} == {reason}
    assert sum(each["status"] == "pass" for each in lines[1:]) > 1


def test_a_check_that_takes_its_container_along_for_want_of_memory_is_told_and_the_rest_goes_on(
    program: Program, engine: Any
) -> None:
    with program.begun(*LONG, "--memory", "900m") as process:
        until(lambda: program.came(3), process=process)
        (container,) = ours(engine)
        # What lies there is nobody's who could be ended for it: the kernel ends all that there is.
        container.exec_run(["sh", "-c", "head -c 2000000000 /dev/zero > /dev/shm/full"])
        _, err = process.communicate(timeout=120)
    assert process.returncode == 1, err
    assert "the container ran out of memory; the rest goes on in a new one" in err
    lines = program.lines()
    assert errors(lines) == ["oom"]
    assert len(lines) == len(lines[0]["planned"]) + 1


def test_too_little_memory_for_any_check_is_one_line(program: Program) -> None:
    assert "ran out of memory before its first check: see to --memory" in line(
        program(*QUICK, "--memory", "100m"), 3
    )
    assert not list(program.results.glob("*.jsonl"))


def test_a_run_whose_container_is_killed_goes_on_by_the_same_command(
    program: Program, engine: Any
) -> None:
    with program.begun(*LONG) as process:
        until(lambda: program.came(3), process=process)
        ours(engine)[0].kill()
        _, err = process.communicate(timeout=120)
    assert process.returncode == 3, err
    assert "was ended from outside" in err.splitlines()[-1]
    assert "checks are kept; the same command goes on with the rest" in err.splitlines()[-1]
    again = program(*LONG)
    assert again.returncode == 0, again.stderr
    assert "going on" in again.stderr
    assert whole(program.lines())
    assert errors(program.lines()) == ["killed"]
    assert not list(program.results.glob("*.going"))


def test_a_run_whose_command_is_killed_goes_on_and_its_leftover_is_removed(
    program: Program, engine: Any
) -> None:
    with program.begun(*LONG) as process:
        until(lambda: program.came(3), process=process)
        process.kill()
        process.wait()
    (left,) = ours(engine)
    stranger = engine.containers.create(
        left.image, ["true"], labels={"nvfp4-matrix.owner": "a/b/c/1/d"}
    )
    try:
        again = program(*LONG)
        assert again.returncode == 0, again.stderr
        assert f"removed what a dead run left: {left.name}" in again.stderr
        assert stranger.id in [each.id for each in engine.containers.list(all=True)]
    finally:
        stranger.remove(force=True)
    assert whole(program.lines())
    assert errors(program.lines()) == ["runner_lost"]


def test_a_run_has_a_limit_at_which_its_container_goes(program: Program) -> None:
    done = program(*QUICK, "--limit", "300", "--run-limit", "15", **{FAULT: "hang"})
    assert "the run's own limit is over; " in line(done, 1)
    assert "the same command goes on with the rest" in done.stderr
    assert "missing" in done.stdout
    assert errors(program.lines()) == [], "no check is to blame"


@pytest.mark.skipif(os.geteuid() != 0, reason="to mount a small disk takes root")
def test_a_full_disk_ends_a_run_and_what_was_measured_stays_readable(program: Program) -> None:
    program.results.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(program.results)]
    subprocess.run(mounted, check=True)
    try:
        done = program(*LONG)
        assert "is the disk full?" in line(done, 3)
        before = program.lines()
        assert len(before) > 1
        subprocess.run(["mount", "-o", "remount,size=4m", str(program.results)], check=True)
        again = program(*LONG)
        assert again.returncode == 0, again.stderr
        assert program.lines()[: len(before)] == before
        assert whole(program.lines())
    finally:
        subprocess.run(["umount", str(program.results)], check=True)


def test_a_gpu_that_another_run_has_is_refused(program: Program, tmp_path: Path) -> None:
    uuid = "GPU-00000000-0000-4000-8000-000000000001"
    path = smi(tmp_path / "tools", uuid)
    with gpu.held(uuid, wait=False, tell=print):
        said = line(program("--subject", "reference", PATH=path), 3)
    assert f"{uuid}: a run of process {os.getpid()}, user {os.geteuid()} has it" in said


@pytest.mark.parametrize(
    ("users", "more", "code", "said"),
    [
        ((), (), 3, "has no NVIDIA runtime: install the NVIDIA container toolkit"),
        (("{uuid}, 77, /usr/bin/python3, 2048 MiB",), (), 3, "in use by process 77 (python3, 2048"),
        ((), ("--target", "sm100"), 2, "the GPU here, NVIDIA RTX PRO 6000 Blackwell, is sm120"),
        ((), ("--target", "sm121"), 2, "the GPU here"),
        ((), ("--gpu", "GPU-9"), 2, "--gpu GPU-9: not here"),
        ((), ("--subject", "vllm"), 2, "vllm is not installed there"),
    ],
)
def test_what_cannot_be_run_on_this_gpu_is_one_line(
    program: Program,
    tmp_path: Path,
    *,
    users: tuple[str, ...],
    more: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    uuid = "GPU-00000000-0000-4000-8000-000000000002"
    path = smi(tmp_path / "tools", uuid, *(each.format(uuid=uuid) for each in users))
    assert said in line(program("--subject", "reference", *more, PATH=path), code)


@pytest.fixture(scope="module")
def daemon(
    engine: Any, arguments: tuple[list[str], dict[str, str]], tmp_path_factory: Any
) -> Iterator[tuple[Daemon, str]]:
    """An engine of our own with the image, and the image's name."""
    kept = Path(arguments[0][arguments[0].index("--kept") + 1])
    (name,) = [f"nvfp4-matrix:{report.parent.name}" for report in kept.glob("*/report.json")]
    folder = tmp_path_factory.mktemp("engine")
    made = Daemon(folder)
    made.start()
    try:
        with closing(docker.DockerClient(base_url=made.host, timeout=300)) as theirs:
            theirs.images.load(engine.images.get(name).save(named=True))
        yield made, name
    finally:
        made.stop()
        with (Path("/proc/mounts")).open() as mounts:
            mine = [row.split()[1] for row in mounts if row.split()[1].startswith(str(folder))]
        for mount in sorted(mine, reverse=True):
            subprocess.run(["umount", "--lazy", mount], check=False)


def test_a_run_survives_the_end_of_its_engine(
    daemon: tuple[Daemon, str], arguments: tuple[list[str], dict[str, str]], tmp_path: Path
) -> None:
    owner, name = daemon
    environment = {**arguments[1], "DOCKER_HOST": owner.host}
    program = Program(["--image", name], environment, tmp_path / "results")
    with program.begun(*LONG) as process:
        until(lambda: program.came(3), process=process)
        owner.kill()
        owner.start()
        _, err = process.communicate(timeout=120)
    assert process.returncode == 3, err
    assert "the same command goes on with the rest" in err.splitlines()[-1]
    again = program(*LONG)
    assert again.returncode == 0, again.stderr
    assert whole(program.lines())
    assert errors(program.lines()) == [], "no check is to blame"
    with closing(docker.DockerClient(base_url=owner.host)) as theirs:
        assert ours(theirs) == []


def test_the_gpu_is_handed_over_by_its_uuid(
    daemon: tuple[Daemon, str], arguments: tuple[list[str], dict[str, str]], tmp_path: Path
) -> None:
    """As far as an engine goes that has no GPU to give: torch says then that there is none."""
    owner, name = daemon
    uuid = "GPU-00000000-0000-4000-8000-000000000003"
    environment = {**arguments[1], "DOCKER_HOST": owner.host}
    environment["PATH"] = smi(tmp_path / "tools", uuid)
    program = Program(["--image", name], environment, tmp_path / "results")
    done = program("--subject", "reference", "--only", "correctness.gemm", "--target", "sm120")
    assert done.returncode == 1, done.stderr
    opening, *results = program.lines()
    assert (opening["target"], opening["conditions"]["device"]) == ("sm120", "cuda")
    assert opening["conditions"]["variables"]["NVIDIA_VISIBLE_DEVICES"] == uuid
    assert {each["status"] for each in results} == {"fail"}
