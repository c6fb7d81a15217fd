"""What a backend needs, and whether it is here. The cheap questions come first, and each is asked only when its answer is wanted."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from splatview.render import tiny_cuda_nn

INSTALL = "pip install 'splatview[cuda]'"


@dataclass(frozen=True)
class Check:
    """One thing that a backend needs."""

    what: str
    works: bool
    found: str
    advice: str = ""  # what to do if it does not work


def cuda_needs() -> Iterator[Check]:
    """What the CUDA backend needs, short of drawing a picture. Without a GPU the first answer, no, takes a millisecond and no import."""
    yield driver()
    for package, name in (("torch", "PyTorch"), ("gsplat", "gsplat"), ("triton", "Triton")):
        yield installed(package, name)
    if find_spec("torch"):
        yield torch_on_gpu()
    yield field_networks()


def driver() -> Check:
    """Whether NVIDIA's driver is here and lends this process a GPU; asked of the driver itself, as importing PyTorch takes seconds."""
    what, advice = "NVIDIA GPU", "install NVIDIA's driver, or give the container its GPU (docker run --gpus all)"
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return Check(what, False, "no driver: libcuda.so.1 is not there", advice)
    count, number, name = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(100)
    if (status := cuda.cuInit(0)) or (status := cuda.cuDeviceGetCount(ctypes.byref(count))) or not count.value:
        return Check(what, False, f"the driver lends no GPU (status {status})", f"{advice}; look at `nvidia-smi` and CUDA_VISIBLE_DEVICES")
    cuda.cuDriverGetVersion(ctypes.byref(number))
    cuda.cuDeviceGetName(name, len(name), 0)
    more = f" and {count.value - 1} more" if count.value > 1 else ""
    return Check(what, True, f"{name.value.decode()}{more}, driver for CUDA {number.value // 1000}.{number.value % 1000 // 10}")


def installed(package: str, name: str, advice: str = INSTALL) -> Check:
    """Whether a package is installed; it is not imported."""
    if find_spec(package) is None:
        return Check(name, False, "not installed", advice)
    try:
        return Check(name, True, version(package))
    except PackageNotFoundError:  # a folder on the path
        return Check(name, True, "version unknown")


def field_networks() -> Check:
    """Who has the networks of fields: that is no need, unless one that is not here was asked for by name."""
    what = "tiny-cuda-nn"
    try:
        return Check(what, True, tiny_cuda_nn.find()[1])
    except ValueError as error:
        return Check(what, False, str(error), f"install it, or unset {tiny_cuda_nn.VARIABLE}")


def torch_on_gpu() -> Check:
    """Whether PyTorch is built for CUDA and sees a GPU; imports PyTorch."""
    from splatview.render import splats_cuda

    what = "PyTorch on the GPU"
    try:
        built_for, memory = splats_cuda.torch_state()
    except Exception as error:  # of libraries that do not fit one another or the driver, in words of their own
        return Check(what, False, f"PyTorch does not start: {' '.join(str(error).split())}", f"install it again: {INSTALL}")
    if built_for is None:
        return Check(
            what, False, "this PyTorch is built without CUDA", "install the build for your CUDA version (pytorch.org, Get started)"
        )
    if memory is None:
        return Check(
            what, False, f"PyTorch is built for CUDA {built_for} and sees no GPU", "update the driver, or install a PyTorch for its CUDA"
        )
    return Check(what, True, f"built for CUDA {built_for}, {memory / 1e9:.0f} GB of GPU memory")
