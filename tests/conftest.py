import os
from pathlib import Path

import pytest

# Before torch is imported, and for the processes that tests start: the cores have workers of their own (-n), and the
# threads of several that wait for each other on two of them took 5.6 times the processor time.
os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture
def shared() -> Path:
    """Real media and lists beside the checkout; absent on a user's machine."""
    if not SHARED.is_dir():
        pytest.skip("../shared/data is not here: real clips cannot be tried")
    return SHARED
