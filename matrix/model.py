"""The base of every frozen value that is read from YAML or JSON."""

from __future__ import annotations

import msgspec


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A value: immutable, hashable, equal by content; unknown keys are refused when it is read."""
