"""One class per kind of failure; each carries the exit code that scripts rely on (docs/commands.md)."""

from __future__ import annotations


class MatrixError(Exception):
    """A failure that a user reads as one line on stderr: what is wrong, where, and what to do."""

    exit_code = 1


class ConfigurationError(MatrixError):
    """A data file, an argument or a setting is wrong."""

    exit_code = 2


class NotFoundError(ConfigurationError):
    """What was asked for does not exist: a package, a version, a wheel for that machine, a stack."""


class BrokenWheelError(ConfigurationError):
    """A wheel on this machine is damaged or hostile (over the network: `DeliveryError`)."""


class OutsideError(MatrixError):
    """The world outside failed: the index, the network, the disk, a tool of NVIDIA's."""

    exit_code = 3


class IndexAnswerError(OutsideError):
    """The index is unreachable, answers an error, or answers something that is no index page."""


class DeliveryError(OutsideError):
    """A wheel did not come whole over the network, or is not what the index promised."""


class ToolError(OutsideError):
    """cuobjdump, nvdisasm or uv is missing or refused its input."""


class EngineError(OutsideError):
    """The Docker engine cannot be reached or refuses, or what was to be built in it cannot be."""
