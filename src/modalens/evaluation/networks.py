"""Any model as evaluation sees it: arrays in, embeddings and log-probabilities out. PyTorch is imported by its user."""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal

import numpy as np
from scipy.special import log_softmax

from modalens.measures import Array
from modalens.measures import Network as Network
from modalens.stats.targets import CLASSES, REGRESSION
from modalens.utils.errors import UserError

Output = Literal["logits", "probabilities"]
# What rows of probabilities add up to at most or least: half precision and rounded tables are less exact.
OFF_ONE = 0.01


class TorchNetwork:
    """A torch module with `embed` and `classify`, on the device where it is; see `modalens.evaluate`.

    temperature: what its logits are divided by before the softmax, under every condition alike. scale: mean and
    deviation that its numbers are in units of.
    """

    def __init__(
        self,
        model: Any,
        modalities: Sequence[str],
        temperature: float = 1.0,
        target: str = CLASSES,
        scale: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        self.model = model
        self.temperature = temperature
        self.target = target
        self.scale = scale
        self.modalities = tuple(sorted(modalities))

    def embed(self, features: Mapping[str, Array]) -> dict[str, Array]:
        with inference(self.model):
            embeddings = self.model.embed(_tensors(features, self.model))
        return {name: to_array(embeddings[name]) for name in features}

    def log_probabilities(self, embeddings: Mapping[str, Array]) -> Array:
        with inference(self.model):
            logits = self.model.classify(_tensors(embeddings, self.model))
            if self.target != CLASSES:
                scaled = to_array(logits) / self.temperature
                found = other_target(scaled, self.target, "logits", len(logits))
                return self.scale[0] + self.scale[1] * found if self.target == REGRESSION else found
            values: Array = (logits.detach().cpu().double() / self.temperature).log_softmax(1).numpy()
        return values

    def joined(self, embeddings: Mapping[str, Array]) -> Array | None:
        """(B, D) that its head classifies, where it says that there is such a vector."""
        with inference(self.model):
            found = self.model.joined(_tensors(embeddings, self.model))
        return None if found is None else to_array(found)


class CallableNetwork:
    """{modality: (B, ...)} -> (B, C) as one call: what is embedded is what was given, so nothing can be replaced later.

    tensors: whether the call is given torch tensors, which it is where the caller's features were some.
    """

    def __init__(
        self,
        call: Callable[[Any], Any],
        modalities: Sequence[str],
        output: Output,
        tensors: bool,
        target: str = CLASSES,
    ) -> None:
        self.call = call
        self.target = target
        self.modalities = tuple(sorted(modalities))
        self.output = output
        self.tensors = tensors

    def embed(self, features: Mapping[str, Array]) -> dict[str, Array]:
        return dict(features)

    def log_probabilities(self, embeddings: Mapping[str, Array]) -> Array:
        if self.tensors:
            with inference(self.call):
                found = self.call(_tensors(embeddings, self.call))
        else:
            # Copies: a call that works in place must not change the caller's arrays, or the next condition's.
            found = self.call({name: np.array(rows) for name, rows in embeddings.items()})
        clips = len(next(iter(embeddings.values())))
        if self.target != CLASSES:
            return other_target(to_array(found), self.target, self.output, clips)
        return log_probabilities(to_array(found), self.output, clips)


def log_probabilities(values: Array, output: Output, clips: int) -> Array:
    """What a model returned for a batch -> (B, C) float64. Raises UserError where it is not what `output` says."""
    if values.ndim != 2 or len(values) != clips or values.shape[1] < 2:
        raise UserError(f"evaluate: expected {output} of shape ({clips}, classes) from the model, got {values.shape}")
    values = values.astype(np.float64)
    if np.isnan(values).any():
        raise UserError("evaluate: the model returned not-a-number")
    sums_to_one = bool((values >= 0).all() and (np.abs(values.sum(1) - 1) <= OFF_ONE).all())
    if output == "probabilities":
        if not sums_to_one:
            raise UserError("evaluate: expected probabilities, rows >= 0 that sum to 1; say output='logits'")
        with np.errstate(divide="ignore"):  # a probability of 0 is minus infinity, as it is
            return np.log(values / values.sum(1, keepdims=True))
    # Softmax of probabilities is a valid answer of another model: nearly uniform, and silently wrong. The logits of one
    # clip or two may add up to one by chance.
    if sums_to_one and clips > 4:
        raise UserError("evaluate: the model returned probabilities: say output='probabilities'")
    found: Array = log_softmax(values, axis=1)
    return found


def other_target(values: Array, target: str, output: Output, clips: int) -> Array:
    """What a model returned for a batch -> numbers (B, 1) or log-probabilities of each tag (B, tags), float64. Raises
    UserError."""
    shape = f"({clips},) or ({clips}, 1)" if target == REGRESSION else f"({clips}, tags)"
    values = values.astype(np.float64)
    values = values[:, None] if values.ndim == 1 and target == REGRESSION else values
    if values.ndim != 2 or len(values) != clips or (target == REGRESSION and values.shape[1] != 1):
        raise UserError(f"evaluate: expected an output of shape {shape} from the model, got {values.shape}")
    if not np.isfinite(values).all():
        raise UserError("evaluate: the model returned what is no finite number")
    if target == REGRESSION:
        return values
    if output == "logits":
        return -np.logaddexp(0, -values)
    if (values < 0).any() or (values > 1).any():
        raise UserError("evaluate: expected probabilities, from 0 to 1; say output='logits'")
    return np.log(np.maximum(values, np.finfo(np.float64).tiny))


def is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def is_module(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


def to_array(value: Any) -> Array:
    if not is_tensor(value):
        return np.asarray(value)
    value = value.detach().cpu()
    # NumPy has no bfloat16.
    found: Array = (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()
    return found


def inference(model: Any) -> AbstractContextManager[None]:
    """Evaluation mode and no gradients; a module is left in the mode it was in."""
    from modalens.utils.tensors import eval_mode  # imports PyTorch, which its user has by now

    if is_module(model):
        return eval_mode(model)
    without: AbstractContextManager[None] = sys.modules["torch"].no_grad()
    return without


def _tensors(arrays: Mapping[str, Array], model: Any) -> dict[str, Any]:
    """On the device of the model's first parameter; a function's are on the CPU."""
    torch = sys.modules["torch"]
    first = next(model.parameters(), None) if is_module(model) else None
    device = torch.device("cpu") if first is None else first.device
    # Repeated rows lie in memory once; PyTorch wants arrays that it may write to.
    return {
        name: torch.from_numpy(np.require(rows, requirements=["C", "W"])).to(device) for name, rows in arrays.items()
    }
