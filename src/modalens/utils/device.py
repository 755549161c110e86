"""Where tensors live, and what makes two runs on the same machine give the same numbers."""

import os

import torch

from modalens.utils.errors import UserError


def resolve_device(name: str) -> torch.device:
    """ "auto" is CUDA, then Apple's MPS, then the CPU. Any other name is PyTorch's; an absent one raises UserError."""
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, there in present.items() if there))
    kind = name.partition(":")[0]
    if not present.get(kind, False):
        raise UserError(
            f"device {name!r} is not on this machine; there is {', '.join(k for k, v in present.items() if v)}"
        )
    return torch.device(name)


def set_deterministic(threads: int) -> None:
    """Fix what the order of additions depends on: the number of threads and the choice of algorithms."""
    torch.set_num_threads(threads)
    # cuBLAS is deterministic only with a fixed workspace, and reads this before its first call.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # use_deterministic_algorithms(True, warn_only=True) is the same, but imports torch's compiler: 2 s of every job.
    torch.set_deterministic_debug_mode("warn")
    # Nothing here reads memory that it did not write; filling it costs a tenth of a training.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
