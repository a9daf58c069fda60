"""NVFP4 and MXFP4 in plain PyTorch, taken from no package under test: what numbers are held against."""
