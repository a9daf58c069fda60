from vllm.model_executor.layers.fused_moe.layer import FusedMoE
from vllm.model_executor.layers.linear import LinearBase
from vllm.model_executor.layers.quantization.utils.quant_utils import cutlass_fp4_supported
from vllm.utils.flashinfer import has_flashinfer


def apply_fp4_marlin_linear(layer, x):
    raise AssertionError("nothing runs")


class CompressedTensorsW4A16Fp4:
    def apply_weights(self, layer, x):
        return apply_fp4_marlin_linear(layer, x)


class CompressedTensorsW4A4Fp4:
    def __init__(self):
        self.backend = "flashinfer-cutlass" if has_flashinfer() else "cutlass"


class CompressedTensorsW4A4Nvfp4MoEMethod:
    flashinfer_moe_backend = None

    def __init__(self, moe):
        assert moe.experts_per_token == 8
        self.use_marlin = not cutlass_fp4_supported()

    def apply(self, x):
        from vllm import cutlass_moe_fp4

        return cutlass_moe_fp4(x)


class CompressedTensorsConfig:
    @classmethod
    def from_config(cls, config):
        made = cls()
        made.input = config["config_groups"]["group_0"]["input_activations"]
        return made

    def get_quant_method(self, layer, prefix):
        if isinstance(layer, FusedMoE):
            assert self.input.get("num_bits") == 4
            return CompressedTensorsW4A4Nvfp4MoEMethod(layer.moe_config)
        assert isinstance(layer, LinearBase)
        native = self.input and cutlass_fp4_supported()
        layer.scheme = CompressedTensorsW4A4Fp4() if native else CompressedTensorsW4A16Fp4()
        return object()
