_current_platform = None


def __getattr__(name):
    if name == "current_platform":
        if _current_platform is None:
            raise RuntimeError("no platform")
        return _current_platform
    raise AttributeError(name)
