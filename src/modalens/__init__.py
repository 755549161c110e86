"""modalens: how much does each modality matter to a multimodal model, and what happens when one is missing?

    table = modalens.evaluate(model, features, labels)    # or load_predictions("predictions.parquet")
    modalens.leave_one_out(table)
    modalens.shapley(table)
    modalens.report(table, "report.html")

`import modalens` is cheap: functions are imported when they are first named, PyTorch only for a model that needs it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modalens.api import UserError, evaluate, leave_one_out, load_model, load_predictions, report, shapley

__version__ = "0.1.0"
__all__ = ["UserError", "evaluate", "leave_one_out", "load_model", "load_predictions", "report", "shapley"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from modalens import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
