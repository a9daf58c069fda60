import functools
import os
import shutil


@functools.cache
def has_flashinfer():
    return shutil.which("nvcc") is not None and shutil.which("ninja") is not None


@functools.cache
def has_nvidia_artifactory():
    return bool(os.environ.get("STACK_CUBINS"))


AT_IMPORT = has_flashinfer()
