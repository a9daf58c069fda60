"""The Docker engine, and the only place that knows `docker`: images are found and built, containers owned."""

from images.engine.client import OLDEST, BuildFailure, Engine, Image
from images.engine.container import OWNER, Container, Wanted

__all__ = ["OLDEST", "OWNER", "BuildFailure", "Container", "Engine", "Image", "Wanted"]
