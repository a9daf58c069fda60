from enum import Enum


class FusedMoEActivationFormat(Enum):
    Standard = 1
