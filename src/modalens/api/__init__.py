"""The library: measures of predictions, predictions of any model, one page of both. Re-exported by `modalens`.

A table of predictions (`load_predictions`) joins the two halves: whatever made it, every measure can read it. The
measures need NumPy, SciPy, pandas and PyArrow; `report` needs the extra `report`; PyTorch is needed for torch models.
"""

from modalens.api.evaluating import evaluate, load_model
from modalens.api.measuring import leave_one_out, shapley
from modalens.api.page import report
from modalens.stats.prediction_files import load_predictions
from modalens.utils.errors import UserError

__all__ = ["UserError", "evaluate", "leave_one_out", "load_model", "load_predictions", "report", "shapley"]
