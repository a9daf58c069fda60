"""Ask an installed vLLM, without a GPU, which kernels it would choose: runs in that interpreter, standard library alone."""
