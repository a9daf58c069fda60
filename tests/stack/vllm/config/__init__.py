from contextlib import contextmanager


class VllmConfig:
    pass


@contextmanager
def set_current_vllm_config(config):
    yield
