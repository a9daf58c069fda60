from __future__ import annotations

import itertools
import os
import signal
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from matrix.errors import ConfigurationError, NotFoundError, OutsideError, ToolError
from matrix.evidence import lock
from matrix.evidence.lock import Wanted, arguments, requirement, resolve, telling, variables, wanted
from matrix.evidence.lockfile import Lock
from matrix.evidence.pipconfig import PipConfig
from matrix.evidence.transport import Connection

HASHED = "lead==1.0 --hash=sha256:aa\\n"
INDEX = "https://index.test/simple"


# What is asked for


def test_the_leading_pin_and_those_by_hand_are_required_and_only_the_latter_override() -> None:
    assert wanted({"vllm": "0.25.1", "nvidia-cudnn-cu13": "9.24.0.43"}, ("b12x",)) == Wanted(
        requirements=("vllm[b12x]==0.25.1", "nvidia-cudnn-cu13==9.24.0.43"),
        overrides=("nvidia-cudnn-cu13==9.24.0.43",),
    )


def test_an_override_of_the_users_replaces_the_pin_by_hand() -> None:
    pins = {"vllm": "0.25.1", "nvidia-cudnn-cu13": "9.24.0.43"}
    asked = wanted(pins, overrides=("NVIDIA_cudnn.cu13 >= 9.25", "torch"))
    assert asked.requirements == ("vllm==0.25.1",)
    assert asked.overrides == ("NVIDIA_cudnn.cu13>=9.25", "torch")


def test_an_override_of_the_leading_package_would_lock_another_stack() -> None:
    with pytest.raises(ConfigurationError, match="vllm is what the stack is about"):
        wanted({"vllm": "0.25.1"}, overrides=("VLLM==0.24.0",))


HOSTILE = [
    "",
    "-e .",
    "-r /etc/passwd",
    "--index-url=http://evil.test",
    "torch==2.11.0 --index-url=http://evil.test",
    "torch==2.11.0 --hash=sha256:00",
    "torch==2.11.0\n--index-url=http://evil.test",
    "torch==2.11.0\n",
    "torch==2.11.0\r-e .",
    "torch==2.11.0 # comment",
    "torch==2.11.0 \\",
    "torch==${HOME}",
    "torch; python_version > '${HOME}'",
    "torch; python_version > '\n--index-url=http://evil.test\n'",
    "torch; python_version > 'a --index-url=http://evil.test'",
    "torch; python_version > 'a --pre'",
    "torch===--pre",
    "torch @ http://evil.test/torch-1-py3-none-any.whl",
    "torch @ file:///torch-1-py3-none-any.whl",
    "./torch",
    "../torch-1-py3-none-any.whl",
    "/torch",
    "torch==2.11.0; $(touch x)",
    "torch==2.11.0\x1b[2J",
    "torch==２.１１",  # noqa: RUF001
    "t\u200borch",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_uv_would_read_as_more_than_a_requirement_is_refused_in_one_line(text: str) -> None:
    for pins, overrides in (
        ({"lead": "1.0"}, (text,)),
        ({"lead": "1.0", text: "1.0"}, ()),
        ({text: "1.0"}, ()),
    ):
        with pytest.raises(ConfigurationError, match=r"is no requirement") as told:
            wanted(pins, (), overrides)
        assert str(told.value).isprintable()


@pytest.mark.parametrize("version", ["1.0\n-e .", "1.0 --hash=x", "", "1.0 # x", "1.0\n"])
def test_a_version_or_an_extra_is_no_way_in_either(version: str) -> None:
    with pytest.raises(ConfigurationError):
        wanted({"lead": version})
    with pytest.raises(ConfigurationError):
        wanted({"lead": "1.0", "other": version})
    with pytest.raises(ConfigurationError):
        wanted({"lead": "1.0"}, (f"a]=={version}\n-e .",))


@given(st.text(max_size=60) | st.from_regex(r"torch *(==|>=|~=)[^a-z]{0,9}(; *os_name.{0,20})?"))
def test_what_is_let_through_is_one_requirement_on_one_line(text: str) -> None:
    try:
        line = requirement(text)
    except ConfigurationError:
        return
    assert str(Requirement(line)) == line
    assert line.isascii()
    assert line.isprintable()
    assert line[0].isalnum()
    assert not any(each in line for each in ("--", "$", "#", "@", "/", "\\"))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (" torch [opt] >= 2.10, <3 ", "torch[opt]<3,>=2.10"),
        ("numpy", "numpy"),
        ("torch==2.11.0+cu130", "torch==2.11.0+cu130"),
        ("x==1.*; platform_machine=='aarch64'", 'x==1.*; platform_machine == "aarch64"'),
    ],
)
def test_a_plain_requirement_is_written_in_one_form(text: str, line: str) -> None:
    assert requirement(text) == line


# How uv is asked


def test_uv_resolves_wheels_with_hashes_for_the_other_machine() -> None:
    given = arguments("aarch64", "3.12", "2.35", allow_source=False)
    assert given[:2] == ["pip", "compile"]
    pairs = dict(itertools.pairwise(given))
    assert pairs["--python-platform"] == "aarch64-manylinux_2_35"
    assert pairs["--python-version"] == "3.12"
    assert pairs["--index-strategy"] == "unsafe-best-match"
    assert pairs["--only-binary"] == ":all:"
    assert pairs["--python"] == sys.executable
    assert {"--generate-hashes", "--no-config", "--no-header"} < set(given)


def test_source_releases_only_when_they_are_allowed() -> None:
    assert "--only-binary" not in arguments("x86_64", "3.12", "2.28", allow_source=True)


def test_uv_asks_the_indexes_of_pip_in_their_order_and_no_others() -> None:
    config = PipConfig(
        indexes=(INDEX, "https://extra.test/simple", "https://last.test/simple"),
        connection=Connection(
            timeout=0.2,
            retries=7,
            trusted_hosts=("a.test", "b.test:8443"),
            proxy="http://proxy.test:3128",
            client_certificate="/pem",
        ),
    )
    given = variables(
        config,
        {
            "PATH": "/bin",
            "UV_INDEX_URL": "https://other.test",
            "UV_EXCLUDE_NEWER": "2020-01-01",
            "UV_PRERELEASE": "allow",
            "UV_CACHE_DIR": "/cache",
            "RUST_LOG": "debug",
            "HTTPS_PROXY": "http://old.test",
        },
    )
    assert given.pop("UV_INDEX") == f"{INDEX} https://extra.test/simple"
    assert given.pop("UV_DEFAULT_INDEX") == "https://last.test/simple"
    assert given.pop("UV_INSECURE_HOST") == "a.test b.test:8443"
    assert {given.pop(name) for name in list(given) if name.lower().endswith("_proxy")} == {
        "http://proxy.test:3128"
    }
    assert given == {
        "PATH": "/bin",
        "UV_CACHE_DIR": "/cache",
        "UV_HTTP_TIMEOUT": "1",
        "UV_HTTP_RETRIES": "7",
        "SSL_CLIENT_CERT": "/pem",
    }


def test_the_default_index_is_left_to_uv_where_it_is_the_only_one_and_named_where_it_is_not() -> (
    None
):
    assert not {"UV_INDEX", "UV_DEFAULT_INDEX"} & set(variables(PipConfig(), {}))
    both = variables(PipConfig(indexes=("", INDEX)), {})
    assert both["UV_DEFAULT_INDEX"] == INDEX
    assert both["UV_INDEX"].startswith("https://")


def test_credentials_stand_in_the_environment_of_uv_with_what_is_special_escaped() -> None:
    logins = (("index.test", "u@x", "p:/w"), ("token.test", "tok", ""))
    config = PipConfig(
        indexes=("https://token.test/simple", INDEX), connection=Connection(logins=logins)
    )
    given = variables(config, {})
    assert given["UV_DEFAULT_INDEX"] == "https://u%40x:p%3A%2Fw@index.test/simple"
    assert given["UV_INDEX"] == "https://tok@token.test/simple"


@pytest.mark.parametrize(("folder", "name"), [(False, "SSL_CERT_FILE"), (True, "SSL_CERT_DIR")])
def test_a_bundle_is_a_file_or_a_folder(tmp_path: Path, *, folder: bool, name: str) -> None:
    path = tmp_path / "certificates"
    path.mkdir() if folder else path.touch()
    given = variables(PipConfig(connection=Connection(ca_bundle=str(path))), {})
    assert {key: value for key, value in given.items() if key.startswith("SSL")} == {
        name: str(path)
    }


def test_folders_of_wheels_are_absolute_and_those_that_are_not_there_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wheels").mkdir()
    monkeypatch.chdir(tmp_path)
    places = ("wheels", "/none/there", "https://links.test/torch", "file:///wheels")
    given = variables(PipConfig(find_links=places), {})
    assert given["UV_FIND_LINKS"].split(",") == [
        str(tmp_path / "wheels"),
        "https://links.test/torch",
        "file:///wheels",
    ]


# What is told

WRAPPED = """\
  x No solution found when resolving dependencies:
  ╰─▶ Because lead==1.0 depends on
      many<3 and you require many==3,
      we can
      conclude that your requirements are unsatisfiable.
"""


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            WRAPPED,
            "lead==1.0 depends on many<3 and you require many==3",
        ),
        (
            "Because only lead{python_version >= '3.9'}<=1.0 is there, we can conclude that it fails.",
            "only lead<=1.0 is there",
        ),
        ("error: No route\n  Caused by: to host\n  Caused by: x", "No route: to host"),
        (
            "error: Failed to fetch: `https://user:pass@index.test/simple/x/`",
            "Failed to fetch: `https://index.test/simple/x/`",
        ),
        (
            "error: https://tok%40en@a.test and http://b:c@d.test",
            "https://a.test and http://d.test",
        ),
        ("error: URL x must go. Consider adding `x @ u` to your files", "URL x must go."),
        ("", "uv said nothing"),
        ("\n\n", "uv said nothing"),
    ],
)
def test_the_telling_line_is_found_and_holds_no_credentials(said: str, told: str) -> None:
    assert telling(said) == told


def test_a_long_explanation_is_cut() -> None:
    told = telling(f"error: {'word ' * 200}")
    assert len(told) == 300
    assert told.endswith("…")


# Around a uv that fails

Program = Callable[[str], None]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Puts a shell script in the place of uv; temporary folders have to be gone at the end."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    path = tmp_path / "uv"
    monkeypatch.setattr("uv.find_uv_bin", lambda: str(path))

    def write(script: str) -> None:
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    return write


def run(config: PipConfig | None = None) -> Lock:
    try:
        return resolve(
            Wanted(requirements=("lead==1.0",), overrides=("many==2",)),
            machine="aarch64",
            python="3.12",
            config=config or PipConfig(),
            environment={"PATH": os.environ["PATH"]},
        )
    finally:
        assert list(Path(tempfile.gettempdir()).iterdir()) == []


def test_uv_gets_the_requirements_as_files_and_its_output_is_the_lock(program: Program) -> None:
    program(
        f"test \"$(cat stack.in overrides.in)\" = 'lead==1.0\nmany==2' && printf '{HASHED}' > out.txt"
    )
    made = run()
    assert (made.versions, made.glibc) == ({"lead": "1.0"}, lock.GLIBCS[0])


def test_no_credentials_stand_in_arguments_or_files(program: Program, tmp_path: Path) -> None:
    program(f"""(echo "$@"; cat *) > "$0.seen"; printf '{HASHED}' > out.txt""")
    logins = (("index.test", "user", "pass"),)
    run(PipConfig(indexes=(INDEX,), connection=Connection(logins=logins)))
    seen = (tmp_path / "uv.seen").read_text("utf-8")
    assert "lead==1.0" in seen
    assert "--only-binary" in seen
    assert "pass" not in seen
    assert "index.test" not in seen


def test_a_newer_glibc_is_tried_only_where_a_wheel_is_wanting(program: Program) -> None:
    count = 'echo x >> "$0.count"'
    lacking = "echo 'No solution found: no wheels with a matching platform tag' >&2; exit 1"
    program(f"{count}; case \"$*\" in *2_39*) printf '{HASHED}' > out.txt;; *) {lacking};; esac")
    assert run().glibc == "2.39"


def test_no_solution_is_told_at_once_where_no_wheel_is_wanting(
    program: Program, tmp_path: Path
) -> None:
    program(
        'echo x >> "$0.count"\n'
        "echo 'No solution found: Because a needs b, we can conclude no' >&2; exit 1"
    )
    with pytest.raises(NotFoundError) as told:
        run()
    assert str(told.value) == (
        "lead==1.0 cannot be locked for aarch64: a needs b; "
        "try --stack for another release, another --python, or --override for one requirement"
    )
    assert (tmp_path / "uv.count").read_text() == "x\n"


def test_a_package_without_a_wheel_is_named_with_the_way_out(program: Program) -> None:
    program("echo 'No solution found. Wheels are required for `odd`, wheel' >&2; exit 1")
    with pytest.raises(NotFoundError, match=r"odd has no wheel for aarch64.*--allow-source"):
        run()


def test_a_requirement_by_url_is_a_tree_without_solution(program: Program) -> None:
    program("echo 'error: URL dependencies must be expressed as direct requirements' >&2; exit 2")
    with pytest.raises(NotFoundError):
        run()


def test_without_an_index_uv_is_told_so(program: Program) -> None:
    program(f"case \"$*\" in *--no-index*) printf '{HASHED}' > out.txt;; esac")
    assert run(PipConfig(indexes=())).versions == {"lead": "1.0"}
    with pytest.raises(OutsideError):
        run()


def test_a_lock_that_pip_would_refuse_is_not_made(program: Program) -> None:
    program(f"printf '{HASHED}many==2\n' > out.txt")
    with pytest.raises(NotFoundError, match="no hash for many: pip would refuse"):
        run()


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo 'error: disk on fire' >&2; exit 2", "uv: disk on fire"),
        ("exit 2", "uv: uv said nothing"),
        (f"kill -{int(signal.SIGKILL)} $$", "uv was ended: Killed"),
    ],
)
def test_any_other_trouble_is_a_tools(program: Program, script: str, told: str) -> None:
    program(script)
    with pytest.raises(ToolError) as error:
        run()
    assert str(error.value) == told


def test_a_uv_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("uv.find_uv_bin", lambda: "/none/uv")
    with pytest.raises(ToolError, match="uv cannot be run"):
        run()


def test_a_full_disk_for_temporary_files_is_told(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    program("exit 0")

    def full(*_: object, **__: object) -> int:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OutsideError, match="temporary files: No space left on device"):
        run()


def test_a_wheel_that_was_built_is_resolved_as_a_file_and_locked_by_its_version(
    tmp_path: Path,
) -> None:
    asked = Wanted(requirements=("vllm[b12x]==1.0+g1", "torch==2"), overrides=("VLLM==1.0+g1",))
    file = tmp_path / "vllm-1.0+g1-py3-none-any.whl"
    told = lock._with(asked, {"vllm": file})
    assert told.requirements == (f"vllm[b12x] @ {file.as_uri()}", "torch==2")
    assert told.overrides == (f"VLLM @ {file.as_uri()}",)
    resolved = (
        f"torch==2 \\\n    --hash=sha256:1\nvllm[b12x] @ {file.as_uri()} \\\n    --hash=sha256:0\n"
    )
    named = lock._named(resolved, asked)
    assert "file:" not in named
    assert Lock(text=named, glibc="2.28").versions == {"torch": "2", "vllm": "1.0+g1"}


def test_a_pin_without_a_version_yet_says_what_makes_one() -> None:
    with pytest.raises(
        ConfigurationError, match=r"vllm@main \+ #7 is built from source, .* nvfp4-matrix build"
    ):
        lock.wanted({"vllm": "@main + #7"})
