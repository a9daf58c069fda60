"""What an installed package really has: modules, functions and operators, looked up at run time and never guessed."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from probes.subject import NotOfferedError


def version(distribution: str) -> str:
    """Return a distribution's version, "of no known version" where its metadata is missing."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "of no known version"


def module(name: str) -> Any:
    """Import a module of the package under test.

    Raises NotOfferedError where this release has no such module; what a module that is there raises, a missing library of
    its own included, is the package's.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise NotOfferedError(f"{_release(name)} has no module {name}") from error
        raise


def first(names: tuple[str, ...], attribute: str) -> Any:
    """Return an attribute from the first of several modules that has it: releases move functions."""
    for name in names:
        try:
            return getattr(module(name), attribute)
        except (NotOfferedError, AttributeError):
            continue
    raise NotOfferedError(f"{_release(names[0])} has no {attribute}")


def function(name: str, attribute: str) -> Any:
    """Return a function of a module. Raises NotOfferedError where either is missing."""
    return first((name,), attribute)


def operator(namespace: str, name: str) -> Any:
    """Return `torch.ops.<namespace>.<name>`. Raises NotOfferedError where nothing registered it."""
    held = getattr(torch.ops, namespace)
    if not hasattr(held, name):
        raise NotOfferedError(f"no operator {namespace}.{name} is registered in this release")
    return getattr(held, name)


def parameters(called: Callable[..., Any]) -> frozenset[str]:
    """Return the names that a Python function takes."""
    return frozenset(inspect.signature(called).parameters)


def annotation(called: Callable[..., Any], name: str) -> Any:
    """Return how a function annotates a parameter."""
    return inspect.signature(called).parameters[name].annotation


def known(called: Callable[..., Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return those of `given` that a function has a parameter for: what later releases added and have defaults for."""
    names = parameters(called)
    return {name: value for name, value in given.items() if name in names}


def capability(device: torch.device) -> int:
    """Return a device's compute capability as a number: 12.1 is 121."""
    major, minor = (int(part) for part in torch.cuda.get_device_capability(device))
    return major * 10 + minor


@cache
def numbers(
    values: tuple[int, ...], device: torch.device, dtype: torch.dtype = torch.int32
) -> torch.Tensor:
    """Return whole numbers on a device, made once and not to be written to: a copy from the host can be in no CUDA graph."""
    return torch.tensor(values, dtype=dtype, device=device)


def settle(device: torch.device) -> None:
    """Wait for a device, so that what went wrong is raised now.

    A kernel of torch first: a launcher that looks at no error (an image that is missing) leaves it to the next launch
    that does, and a synchronisation is none.
    """
    if device.type == "cuda":
        torch.empty(1, device=device).fill_(0)
        torch.cuda.synchronize(device)


def said(question: str, ask: Callable[[], Any]) -> str:
    """Return a package's answer to a question about support, with the question: `f(121) is True`."""
    try:
        return f"{question} is {ask()}"
    except Exception as error:  # noqa: BLE001 - whatever a check raises is its answer
        return f"{question} raised {type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _release(name: str) -> str:
    root = name.split(".", maxsplit=1)[0]
    distribution = {"flashinfer": "flashinfer-python"}.get(root, root)
    return f"{distribution} {version(distribution)}"
