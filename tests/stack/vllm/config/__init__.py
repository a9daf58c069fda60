from contextlib import contextmanager
from types import SimpleNamespace


class VllmConfig:
    def __init__(self):
        self.cache_config = SimpleNamespace()


@contextmanager
def set_current_vllm_config(config):
    yield
