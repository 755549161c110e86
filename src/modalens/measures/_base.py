"""What every measure is: what a task's models said, learnt or are -> one tidy table."""

from typing import Any, ClassVar

import pandas as pd


class Measure:
    """Options of a subclass are keyword arguments; the workflow gives each the study's `bootstrap` (replicates behind
    an interval) and `confidence` (its coverage).

    needs: what a call is given, of all models of one task.
        "predictions": the table of predictions, a row a model, clip, seed and condition;
        "history": the training histories as one table, a row a model, seed and epoch;
        "model": the trained models themselves, a sequence of StudiedModel sorted by name;
        "input": the same, whose features are the decoded rows: what they are asked goes through the encoders.
    """

    needs: ClassVar[str] = "predictions"
    targets_measured: ClassVar[tuple[str, ...]] = ("classes",)  # of stats.targets, for which it is defined
    unit: ClassVar[str] = ""  # of what a chart draws, in words
    compares_models: ClassVar[bool] = False  # whether a chart is of all models that it has rows of, not of one
    reads_probabilities: ClassVar[bool] = False  # whether it needs the columns p_<class>, which are many

    def __call__(self, given: Any, /) -> pd.DataFrame:
        """Returns a table with a column `model`."""
        raise NotImplementedError

    def headline(self, table: pd.DataFrame) -> dict[str, float]:
        """Of one model's rows of what a call returned, at least one: the numbers that MLflow shows.

        A name that ends in / and a replacement is shown where the study reports that one, without this end; one that
        ends in `/of ` and a metric (before the replacement) where the task's answer is told in that metric.
        """
        del table
        return {}
