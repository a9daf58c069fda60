"""Where packages that are built from source come from, as `repositories.yaml` states it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from matrix.model import Model

Variable = Annotated[str, Meta(pattern=r"^[A-Z][A-Z0-9_]*$")]


class Upstream(Model, frozen=True, kw_only=True):
    """The source of one package.

    `arch_list`: the variable that its build takes the architectures from, which `separator` stands between.
    `nvcc`: whether nothing can be built without the CUDA compiler. `variables`: what else its build is told.
    """

    package: str
    repository: str
    arch_list: Variable = "TORCH_CUDA_ARCH_LIST"
    separator: str = ";"
    nvcc: bool = False
    variables: dict[Variable, str] = {}  # noqa: RUF012 - msgspec copies an empty default
    note: str = ""


class RepositoriesFile(Model, frozen=True, kw_only=True):
    """The content of `repositories.yaml`."""

    repositories: tuple[Upstream, ...]
