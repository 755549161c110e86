"""Table rows float32 (B, fields, 3) -> the same: number, whether there is a value, code of a category.

Nothing is learnt here: the model standardises numbers and knows categories by its training clips (models/_fitted.py).
"""

from typing import ClassVar

from torch import Tensor

from modalens.encoders._base import Encoder


class Fields(Encoder):
    input = "table"
    axes = ("field", "part")
    dtype: ClassVar[str] = "float32"  # codes and prices are beyond half precision

    def encode(self, batch: Tensor) -> Tensor:
        return batch.float()
