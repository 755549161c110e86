import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# Before torch is imported, and for the processes that tests start: the cores have workers of their own (-n), and the
# threads of several that wait for each other on two of them took 5.6 times the processor time.
os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture
def float64() -> Iterator[None]:
    """Modules and tensors made in the test are float64, and so is how near they are to be: for closed forms."""
    import torch

    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def shared() -> Path:
    """Real media and lists beside the checkout; absent on a user's machine."""
    if not SHARED.is_dir():
        pytest.skip("../shared/data is not here: real clips cannot be tried")
    return SHARED
