"""Entry: `python payload.pyz REQUEST ANSWER`, both JSON files; the request is `Request` below."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from probes.selection import environment, flashinfer_says, objectfile, standin, stated
from probes.selection.answer import KINDS, unknown, words
from probes.selection.child import in_children
from probes.selection.vllm_release import Release, adapter, known

PACKAGES = ("vllm", "torch", "flashinfer-python", "flashinfer-cubin", "flashinfer-jit-cache")


class RefusalError(Exception):
    """What keeps anything from being asked: `kind` is "missing" (a package) or "broken" (an import)."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def main(request_file: str, answer_file: str) -> None:
    """Answer a request; what keeps it from being answered is an answer too (`error`)."""
    request = json.loads(Path(request_file).read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory(prefix="nvfp4-select-") as scratch:
        try:
            told = answer(request, scratch)
        except RefusalError as refusal:
            told = {"error": {"kind": refusal.kind, "text": str(refusal)}}
    part = Path(answer_file + ".part")
    part.write_text(json.dumps(told), encoding="utf-8")
    part.replace(answer_file)


def answer(request: dict[str, Any], scratch: str) -> dict[str, Any]:
    """Import once and ask every target in every environment.

    `request`: `targets` (name, capability [12, 1], product, shared_memory), `environments`, `cubins`
    ("ask", "reachable", "unreachable"), `jobs`, `versions` (more packages to tell). Raises RefusalError.
    """
    started = time.monotonic()
    packages = _packages()
    release = adapter(packages["vllm"])
    targets = [
        stated.Gpu(**{**each, "capability": tuple(each["capability"])})
        for each in request["targets"]
    ]
    also = sorted(set(request.get("versions", ())) - set(PACKAGES))
    told: dict[str, Any] = {
        "packages": packages,
        "installed": _installed(also),
        "machine": platform.machine(),
    }
    if release is None:
        reason = f"how vLLM {packages['vllm']} is asked is not known; known are {known()}"
        nothing = {kind: unknown(reason).told() for kind in KINDS}
        told["environments"] = {
            name: {"targets": {gpu.name: nothing for gpu in targets}}
            for name in request["environments"]
        }
        return {**told, "cubins": {"reachable": None, "how": "not asked"}, "asked_for": {}}
    variables = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment.neutral(variables, scratch))
    cuda = _cuda(packages)
    make = {
        name: environment.compilers(name, variables, scratch, cuda)
        for name in (environment.DEVEL, environment.SLIM)
    }
    os.environ.update(make[environment.DEVEL])
    _stand_in(scratch)
    _import(release, targets[0])
    imported = time.monotonic()
    reachable, how = _cubins(release, request["cubins"], make[environment.SLIM])
    work = {
        (name, gpu.name): partial(_ask, release, gpu, make[name], reachable)
        for name in request["environments"]
        for gpu in targets
    }
    environments: dict[str, Any] = {
        name: {"targets": {gpu.name: {} for gpu in targets}} for name in request["environments"]
    }
    for (name, gpu_name), found, wrong in in_children(work, scratch, request["jobs"]):
        kinds = found or {kind: unknown(wrong).told() for kind in KINDS}
        environments[name]["targets"][gpu_name] = kinds
    return {
        **told,
        "environments": environments,
        "cubins": {"reachable": reachable, "how": how},
        "asked_for": release.asked_for,
        "seconds": {
            "import": round(imported - started, 1),
            "questions": round(time.monotonic() - imported, 1),
        },
    }


def _packages() -> dict[str, str]:
    """Return the versions that matter. Raises RefusalError where torch or vLLM is missing."""
    found = _installed(PACKAGES)
    for package in ("torch", "vllm"):
        if importlib.util.find_spec(package) is None:
            raise RefusalError("missing", f"{package} is not installed there")
        if package not in found:
            raise RefusalError(
                "broken", f"{package} is there without its metadata, so without a version"
            )
    return found


def _installed(packages: Iterable[str]) -> dict[str, str]:
    """Return the version of each that is installed."""
    found: dict[str, str] = {}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def _cuda(packages: dict[str, str]) -> str:
    """Return the CUDA version of the installed torch, "13.0" where torch does not tell."""
    try:
        version = importlib.import_module("torch.version").cuda
    except Exception as error:
        raise RefusalError(
            "broken", f"torch {packages['torch']} cannot be imported: {words(error)}"
        ) from error
    if not version:
        raise RefusalError("broken", f"torch {packages['torch']} there is a build without CUDA")
    return str(version)


def _stand_in(scratch: str) -> None:
    """Load the stand-in for the driver: what needs `libcuda.so.1` from now on finds it loaded."""
    folders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    functions = objectfile.wanted(sorted(folders))
    file = Path(scratch, standin.SONAME)
    file.write_bytes(standin.library(functions, platform.machine()))
    ctypes.CDLL(str(file), mode=ctypes.RTLD_GLOBAL)


def _import(release: Release, gpu: stated.Gpu) -> None:
    """Import what will be asked, once, with a GPU stated. Raises RefusalError for a broken install."""
    name = "vllm"
    try:
        stated.state(gpu)
        for name in ("vllm", *release.modules):
            importlib.import_module(name)
    except Exception as error:
        raise RefusalError("broken", f"{name} cannot be imported: {words(error)}") from error
    for name in (*flashinfer_says.MODULES, *release.warm):
        try:
            importlib.import_module(name)
        except Exception:  # noqa: BLE001, S112 - what is missing says so where it is asked
            continue


def _cubins(release: Release, wish: str, slim: dict[str, str]) -> tuple[bool | None, str]:
    """Return whether cubins can be had, and how that is known."""
    if wish != "ask":
        return wish == "reachable", "stated by who asked"
    if importlib.util.find_spec("flashinfer_cubin") is not None:
        return True, "flashinfer-cubin is installed"
    held = dict(os.environ)
    os.environ.update(slim)
    try:
        return release.reachable(), "asked by vLLM itself, from this machine"
    except Exception as error:  # noqa: BLE001 - a release that cannot tell does not keep the rest
        return None, words(error)
    finally:
        os.environ.clear()
        os.environ.update(held)


def _ask(
    release: Release,
    gpu: stated.Gpu,
    variables: dict[str, str],
    reachable: bool | None,  # noqa: FBT001 - a value
) -> dict[str, Any]:
    """Ask every layer kind; runs in a child of its own."""
    os.environ.update(variables)
    stated.state(gpu)
    environment.forget(sys.modules, ("vllm", "flashinfer"))
    if reachable is not None:
        release.state_reachable(reachable)
    told = {}
    for kind in KINDS:
        try:
            found = release.kinds[kind](gpu)
        except Exception as error:  # noqa: BLE001 - one kind that cannot be asked does not keep the others
            found = unknown(words(error))
        told[kind] = found.told(flashinfer_says.opinions(kind, gpu))
    return told


if __name__ == "__main__":
    main(*sys.argv[1:3])
