"""What an image holds, by its labels: it is asked nothing, and no container is started for it."""

from __future__ import annotations

import re
from typing import Final

from images.engine import Engine, Image
from images.here import Preflight
from images.recipe import MARK, NAME, PIN
from matrix.errors import ConfigurationError
from matrix.result import unfit_name
from matrix.vocabulary import ENVIRONMENTS, Environment
from probes import conditions, preflight

FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
"""What the label holds: a volume is named for it, and anyone can set a label."""


def found(engine: Engine, name: str) -> Image:
    """Return an image of ours. Raises ConfigurationError for none, one of another machine, or without what the probes run on."""
    image = engine.image(name)
    if image is None:
        raise ConfigurationError(f"{name}: no such image here; pull it, or name a STACK to build")
    if not FINGERPRINT.fullmatch(image.labels.get(MARK, "")):
        raise ConfigurationError(f"{name} has no label {MARK}: it is no image of this program's")
    if fault := unfit_name(image.labels.get(f"{NAME}.stack", "")):
        raise ConfigurationError(f"{name}: its label says a stack whose name {fault}")
    if image.machine != engine.machine:
        raise ConfigurationError(
            f"{name} is for {image.machine}, and this machine is {engine.machine}: build it here"
        )
    lacking = [package for package in preflight.NEEDED if f"{PIN}{package}" not in image.labels]
    if lacking:
        raise ConfigurationError(
            f"{name}: {' and '.join(lacking)} not installed there; the probes run on pytest and torch"
        )
    return image


def told(image: Image) -> Preflight:
    """Return what a preflight would say: the image's packages, and this machine's GPUs."""
    pins = {
        label.removeprefix(PIN): version
        for label, version in image.labels.items()
        if label.startswith(PIN)
    }
    devel = environment(image) == "devel"
    return Preflight(
        python=image.labels.get(f"{NAME}.python", ""),
        machine=image.machine,
        packages=pins,
        missing=(),
        compilers=("nvcc", "ninja") if devel else (),
        gpu=tuple(preflight.visible(conditions.gpu())),
    )


def environment(image: Image) -> Environment:
    """Return the environment that an image was built as."""
    said = image.labels.get(f"{NAME}.environment")
    return next((each for each in ENVIRONMENTS if each == said), "slim")
