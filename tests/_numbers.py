"""How near two numbers are to be that differ only by the order in which a processor adds.

Each instruction set has its own order. In float32 that changes the seventh digit, and learning makes more of it with
every step: after some epochs no tolerance tells rounding from a mistake on every machine. So what is the same by its
definition is compared in float64, where rounding stays far below EXACT, and a wrong factor or a lost term does not.
"""

import pytest
import torch

# Some hundred terms in float64, with room: 1e-15 is what was met.
EXACT = {"rtol": 1e-9, "atol": 1e-12}
# The same in float32. Next to the gradients of a small model this is much: it tells only what is float32's own.
CLOSE = {"rtol": 1e-4, "atol": 1e-5}

# For a test that is to hold in both: its arguments "dtype" and "close".
PRECISIONS = [pytest.param(torch.float32, CLOSE, id="float32"), pytest.param(torch.float64, EXACT, id="float64")]


def cast(part, dtype=torch.float64):
    """The module itself, its numbers and those of its teachers in this type; features may stay in theirs."""
    for module in part.modules():
        for teacher in getattr(module, "teachers", {}).values():
            cast(teacher, dtype)
    return part.to(dtype)
