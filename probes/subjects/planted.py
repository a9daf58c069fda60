"""The reference with a fault of `probes.faults`, which the environment names: test equipment for the suite."""

from __future__ import annotations

import os
from typing import Final

import torch

from probes.faults.catalogue import FAULTS
from probes.subject import Subject
from probes.subjects import reference

VARIABLE: Final = "NVFP4_MATRIX_FAULT"
OFFERS: Final = reference.OFFERS


def load() -> None:
    """Import what is under test; some faults are in that."""
    FAULTS[os.environ[VARIABLE]].subject.load()


def make(device: torch.device) -> Subject:
    """Return the faulty subject on a device."""
    return FAULTS[os.environ[VARIABLE]].subject(device)
