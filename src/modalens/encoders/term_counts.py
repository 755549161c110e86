"""Texts uint8 (B, bytes) UTF-8 -> counts of words (B, terms) float16, each word in the place that its hash gives.

The TF-IDF of a bag of words needs no weights: what is fitted of it, the inverse document frequencies, the model fits to
its training clips (models/_fitted.py). Source: Weinberger et al. 2009, without their signs, so that counts stay counts.
"""

import numpy as np
import torch
from sklearn.feature_extraction.text import HashingVectorizer
from torch import Tensor

from modalens.encoders._base import Encoder
from modalens.utils.errors import UserError

MOST = 2048.0  # half precision holds every whole number up to it


class TermCounts(Encoder):
    input = "texts"
    axes = ("term",)

    def __init__(self, device: torch.device, *, terms: int = 4096, words: int = 1, batch_size: int = 256) -> None:
        """terms: places; words that share one are one term. words: 2 counts pairs of neighbours too, and so on. A word
        is a run of two or more letters or digits, without regard to case. batch_size: clips at once, memory only."""
        super().__init__(device)
        if terms < 2 or words < 1:
            raise UserError(f"encoder term_counts: expected terms from 2 and words from 1, got {terms} and {words}")
        self.options = {"terms": terms, "words": words}
        self.batch_size = batch_size
        self._counts = HashingVectorizer(
            n_features=terms, ngram_range=(1, words), norm=None, alternate_sign=False, dtype=np.float32
        )

    def encode(self, batch: Tensor) -> Tensor:
        texts = [row.tobytes().split(b"\0", 1)[0].decode("utf-8", "replace") for row in batch.numpy()]
        return torch.from_numpy(self._counts.transform(texts).toarray()).clamp(max=MOST).half()
