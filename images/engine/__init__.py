"""The Docker engine, and the only place that knows `docker`: images are found and built, containers owned."""

from images.engine.client import OLDEST, BuildFailure, Engine, Image
from images.engine.container import OWNER, VOLUME, Container, State, Wanted

__all__ = [
    "OLDEST",
    "OWNER",
    "VOLUME",
    "BuildFailure",
    "Container",
    "Engine",
    "Image",
    "State",
    "Wanted",
]
