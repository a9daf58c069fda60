"""Whether a stack can be installed and imported at all on one target. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from matrix.architecture import loadable, translatable
from matrix.held import Held
from matrix.stack import Stack
from matrix.target import Target
from matrix.vocabulary import Answer, Reason

NOT_LOADABLE: Final[tuple[Reason, ...]] = (
    "no_wheel",
    "conflicting_pins",
    "torch_without_cuda",
    "torch_without_target",
    "cuda_mismatch",
    "import_error",
)
"""Reasons that hold for a whole stack on a machine: nothing of it runs there, no fallback either."""


def imports(  # noqa: PLR0911 - one arm a way to fail
    stack: Stack, held: Mapping[str, Held], cuda: str | None, target: Target
) -> tuple[Answer, Reason, str]:
    """Say whether the leading package can be installed and imported: yes, no or unknown, why, a sentence.

    Its pins must not exclude each other. torch must have a wheel for the machine, be a CUDA build, of the
    CUDA major version that the leading wheel's machine code was built for, and have code of its own that
    the target can load or translate. `cuda` is torch's toolkit (None: not known).
    """
    for pin in stack.pins:
        if not pin.version and pin.package != "torch":
            return "no", "conflicting_pins", f"{pin.package}: {pin.why}"
    torch = next((pin for pin in stack.pins if pin.package == "torch"), None)
    if torch is None:
        return "yes", "", "asks for no torch"
    if not torch.version:
        return "no", "no_wheel", f"torch: {torch.why}"
    if cuda is None:
        return "unknown", "not_measured", f"torch {torch.version} was not read"
    if not cuda:
        text = f"torch {torch.version} of the index is a build without CUDA on {stack.machine}"
        return "no", "torch_without_cuda", text
    built = held[stack.lead.package].cuda
    if built and built != cuda.partition(".")[0]:
        text = f"{stack.lead.package} was built for CUDA {built}, torch {torch.version} for {cuda}"
        return "no", "cuda_mismatch", text
    compiled_for = held["torch"].record.facts.get("arch_list", "").split()
    if compiled_for and not any(_runs(each, target.capability) for each in compiled_for):
        text = (
            f"torch {torch.version} was compiled for {' '.join(compiled_for)}, "
            f"and {target.name} can load none of that"
        )
        return "no", "torch_without_target", text
    return "yes", "", f"torch {torch.version} is a build for CUDA {cuda}"


def _runs(architecture: str, capability: int) -> bool:
    if architecture.startswith("compute_"):
        return translatable(architecture, capability)
    return loadable(architecture, capability)
