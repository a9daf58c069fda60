from types import SimpleNamespace


class AttentionSelectorConfig(SimpleNamespace):
    pass
