"""One row per epoch, and what follows from the rows: which epoch is kept, when training stops, and why it did.

The epoch kept is the one of lowest calibrated validation loss: cross-entropy of the validation labels after one
temperature is fitted on them. The plain loss rises from overconfidence while the accuracy still climbs, and would keep
an epoch near the start. Nothing here imports torch.
"""

import math

History = list[dict[str, float]]

CALIBRATED_LOSS = "validation_calibrated_loss"  # column by which epochs, and trials of a search, are compared
TEMPERATURE = "validation_temperature"  # column: what logits are divided by for it
# Nats. A model that has solved its task lowers the loss by ever smaller steps: not worth an epoch.
LEAST_PROGRESS = 0.005
# Validations without progress before stopping, however many steps lie between them: one or two may be chance.
LEAST_EPOCHS = 5


def best_epoch(history: History) -> int:
    """Number, from 1, of the epoch of lowest calibrated validation loss; the earlier of equals."""
    return 1 + min(range(len(history)), key=lambda index: history[index][CALIBRATED_LOSS])


def stop_reason(history: History, *, patience: int, epochs: int, steps: int) -> str:
    """Why training stops after these epochs; "" while it goes on.

    "solved": no progress is possible, as a loss is never negative. "patience": no calibrated loss lower by
    LEAST_PROGRESS for `patience` optimizer steps and LEAST_EPOCHS epochs. "budget": `epochs` or `steps` are used up
    although it was still improving.
    """
    if not history:
        return ""
    lowest, waited, since = math.inf, 0, 0.0
    for row in history:
        waited += 1
        if row[CALIBRATED_LOSS] < lowest - LEAST_PROGRESS:
            lowest, waited, since = row[CALIBRATED_LOSS], 0, row["steps"]
    if lowest < LEAST_PROGRESS:
        return "solved"
    if waited >= LEAST_EPOCHS and history[-1]["steps"] - since >= patience:
        return "patience"
    return "budget" if len(history) >= epochs or history[-1]["steps"] >= steps else ""


def summary(history: History) -> dict[str, float]:
    """Numbers of a training for its record: those of the kept epoch, and of the whole."""
    best = history[best_epoch(history) - 1]
    kept = {"best_epoch" if name == "epoch" else name: value for name, value in best.items()}
    for name in ("seconds", "steps", "still_improving"):
        kept.pop(name, None)
    kept["best_step"] = best["steps"]
    kept["epochs"], kept["steps"] = float(len(history)), history[-1]["steps"]
    kept["seconds"] = sum(row["seconds"] for row in history)
    kept["still_improving"] = history[-1]["still_improving"]
    return kept
