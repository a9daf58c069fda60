from vllm.utils.flashinfer import has_flashinfer


class ModelOptNvFp4LinearMethod:
    def __init__(self):
        self.backend = "flashinfer-cutlass" if has_flashinfer() else "cutlass"


class ModelOptNvFp4Config:
    @classmethod
    def from_config(cls, config):
        assert config["quantization"]["quant_algo"] == "NVFP4"
        return cls()

    def get_quant_method(self, layer, prefix):
        return ModelOptNvFp4LinearMethod()
