from types import SimpleNamespace


class FlashInferBackend:
    pass


class CudaPlatformBase:
    @classmethod
    def get_device_capability(cls, device_id=0):
        raise NotImplementedError

    def is_family(self, major):
        return self.get_device_capability().major == major

    def get_valid_backends(self, device_capability, attn_selector_config, num_heads):
        from vllm.utils.flashinfer import has_nvidia_artifactory

        backend = SimpleNamespace(name="FLASHINFER")
        if device_capability.major == 10 and not has_nvidia_artifactory():
            return [], {_Named("FLASHINFER"): (0, ["no cubins"])}
        found = SimpleNamespace(backend=backend, backend_class=FlashInferBackend, priority=1)
        return [found], {_Named("FLASH_ATTN"): (0, ["kv_cache_dtype not supported"])}

    def get_attn_backend_cls(self, selected, config, num_heads):
        valid, _ = self.get_valid_backends(self.get_device_capability(), config, num_heads)
        if not valid:
            raise ValueError("No valid attention backend found")
        return "vllm.platforms.cuda.FlashInferBackend"


class _Named(str):
    @property
    def name(self):
        return str(self)
