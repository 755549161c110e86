from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture
def shared() -> Path:
    """Real media and lists beside the checkout; absent on a user's machine."""
    if not SHARED.is_dir():
        pytest.skip("../shared/data is not here: real clips cannot be tried")
    return SHARED
