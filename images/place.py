"""Where a probe run takes place: which GPU, so which target; which stack, by what is installed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from images.here import Preflight
from matrix.errors import ConfigurationError
from matrix.knowledge import Knowledge
from matrix.result import unfit_name
from matrix.target import Rates, Target
from matrix.vocabulary import Environment, Machine

PACKAGES: Final = {"vllm": "vllm", "flashinfer": "flashinfer-python"}
"""What has to be installed for a subject."""

_COMPILERS: Final = 2


@dataclass(frozen=True, kw_only=True)
class Place:
    """The cell that results are of, and the GPU by its UUID ("" is the CPU); `rates`: its peak rates, where known."""

    stack: str
    target: str
    machine: Machine
    environment: Environment
    gpu: str = ""
    rates: Mapping[str, Any] = field(default_factory=dict)


def place(
    told: Preflight,
    python: Path,
    knowledge: Knowledge,
    *,
    subject: str,
    target: str | None = None,
    gpu: str | None = None,
    stack: str | None = None,
    environment: Environment | None = None,
) -> Place:
    """Find the cell that a run is about. Raises ConfigurationError, in one line, for what cannot be run here."""
    if stack is not None and (fault := unfit_name(stack)):
        raise ConfigurationError(f"--stack: the name {fault}")
    package = PACKAGES.get(subject)
    if package and package not in told.packages:
        raise ConfigurationError(f"{python}: {package} is not installed there")
    found = devices(told, gpu, capability(knowledge, target))[0]
    gpu_target = target_of(knowledge, found, target)
    return Place(
        stack=stack or named(told.packages, subject, told.machine, knowledge),
        target=gpu_target.name,
        machine=_machine(gpu_target, told.machine),
        environment=environment or ("devel" if len(told.compilers) == _COMPILERS else "slim"),
        gpu=found["uuid"],
        rates=rates(gpu_target.rates, found["name"]),
    )


def this_cpu(told: Preflight) -> Place:
    """Return the place of a run on this machine's CPU: no cell of the matrix."""
    machine: Machine = "aarch64" if told.machine == "aarch64" else "x86_64"
    return Place(stack="the reference", target="cpu", machine=machine, environment="slim")


def capability(knowledge: Knowledge, target: str | None) -> str | None:
    """Return the compute capability of a target, None where none is named. Raises ConfigurationError for none such."""
    return knowledge.configuration.target(target).compute_capability if target else None


def devices(
    told: Preflight, wanted: str | None, capability: str | None = None
) -> tuple[Mapping[str, str], ...]:
    """Pick the GPUs that a run may take: the one of that UUID, else those of a capability, else all of one kind.

    Where none is of the capability it is all as well: what they are is for `target_of` to tell. Raises
    ConfigurationError for no GPU, not this one, or several kinds without a choice.
    """
    if not told.gpu:
        raise ConfigurationError(
            "no NVIDIA GPU here (nvidia-smi names none, or CUDA_VISIBLE_DEVICES hides it); `select` needs none, nor does --self-test"
        )
    if wanted is not None:
        for each in told.gpu:
            if each["uuid"] == wanted:
                return (each,)
        raise ConfigurationError(f"--gpu {wanted}: not here, but {_uuids(told)}")
    fitting = tuple(each for each in told.gpu if each["compute_cap"] == capability) or told.gpu
    if len({each["compute_cap"] for each in fitting}) > 1:
        raise ConfigurationError(
            f"several kinds of GPU are here: say --target, or --gpu, of {_uuids(told)}"
        )
    return fitting


def _uuids(told: Preflight) -> str:
    return ", ".join(f"{each['uuid']} ({each['name']})" for each in told.gpu)


def target_of(knowledge: Knowledge, device: Mapping[str, str], wanted: str | None) -> Target:
    """Find the target of a GPU. Raises ConfigurationError for one that is not known, or another than was asked for."""
    targets = knowledge.configuration.targets
    found = next((t for t in targets if t.compute_capability == device["compute_cap"]), None)
    if found is None:
        known = ", ".join(f"{t.name} ({t.compute_capability})" for t in targets)
        raise ConfigurationError(
            f"{device['name']} has compute capability {device['compute_cap']}, which is no target; known are {known}"
        )
    if wanted is not None and knowledge.configuration.target(wanted) != found:
        raise ConfigurationError(
            f"--target {wanted}: the GPU here, {device['name']}, is {found.name}"
        )
    return found


def _machine(target: Target, machine: str) -> Machine:
    for each in target.machines:
        if each == machine:
            return each
    known = " and ".join(target.machines)
    raise ConfigurationError(f"this machine is {machine}; {target.name} is known with {known}")


def named(packages: Mapping[str, str], subject: str, machine: str, knowledge: Knowledge) -> str:
    """Name what is installed: as released, where every pin is the release's; else by its versions."""
    version = packages.get("vllm")
    if subject == "vllm" and version:
        name = f"vllm=={version.partition('+')[0]}"
        for each in knowledge.stacks:
            if each.name == name:
                pins = knowledge.resolve(each, machine).pins
                if all(_same(packages.get(pin.package), pin.version) for pin in pins):
                    return name
    first = (PACKAGES.get(subject, "torch"), "vllm", "flashinfer-python", "torch")
    told = [f"{name} {packages[name]}" for name in dict.fromkeys(first) if name in packages]
    return f"{', '.join(told)} (as installed)"


def _same(installed: str | None, pinned: str | None) -> bool:
    return not installed or not pinned or installed.partition("+")[0] == pinned


def rates(every: tuple[Rates, ...], name: str) -> dict[str, Any]:
    """Pick the peak rates of a GPU by its name; of a target with one product, that one's; else none."""
    fitting = [each for each in every if each.product.lower() in name.lower()]
    chosen = fitting or (every if len(every) == 1 else ())
    best = max(chosen, key=lambda each: len(each.product), default=None)
    return {} if best is None else msgspec.to_builtins(best)
