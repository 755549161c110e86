"""What every measure of predictions is: one table in, one tidy table out."""

from typing import ClassVar

import pandas as pd


class Measure:
    """Options of a subclass are keyword arguments; the workflow gives each the study's `bootstrap` (replicates behind
    an interval) and `confidence` (its coverage)."""

    reads_probabilities: ClassVar[bool] = False  # whether it needs the columns p_<class>, which are many

    def __call__(self, predictions: pd.DataFrame) -> pd.DataFrame:
        """predictions: of all models of one task, a row a model, clip, seed and condition. Returns a table with a
        column `model`."""
        raise NotImplementedError

    def headline(self, table: pd.DataFrame) -> dict[str, float]:
        """Of one model's rows of what a call returned: the numbers that MLflow shows.

        A name that ends in / and a replacement is shown where the study reports that one, without this end.
        """
        del table
        return {}
