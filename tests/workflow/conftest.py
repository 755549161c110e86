"""A checkout of its own for each test file."""

from typing import Any

import pytest
from _checkout import Checkout, copied


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    def make(config: dict[str, Any]) -> Checkout:
        return Checkout(copied(tmp_path_factory, config), config)

    return make
