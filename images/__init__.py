"""How a stack becomes a container image. Nothing yet: images come with GPU runners."""
