class NvFp4LinearLayerConfig:
    pass
