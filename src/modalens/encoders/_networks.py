"""What encoders share that run networks of other libraries: parameters by name, from a file or from a seed, what tells
them apart, and the precision that they are run in.

Nothing of a library is run that came with the weights: state dicts are read with `weights_only`, safetensors hold no
code, and `trust_remote_code` is never set.
"""

import contextlib
import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from modalens.utils.errors import UserError
from modalens.utils.extras import not_installed
from modalens.utils.files import is_path
from modalens.utils.suggest import nearest

UNTRAINED, PRETRAINED = "untrained", "pretrained"
LAST_LAYERS = (nn.Linear, nn.Conv2d, nn.Conv3d)
PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True)
class Source:
    """Which network, and where its parameters come from.

    where: begins every message ("encoder image_network"). model: a name that the library knows, or a folder.
    weights: "pretrained", "untrained" (drawn from `seed`), the name of one of the library's sets of weights, or a file.
    arguments: of the library's definition in place of its own, for untrained networks.
    """

    where: str
    library: str
    model: str
    weights: str = PRETRAINED
    seed: int = 0
    arguments: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.arguments and self.weights != UNTRAINED:
            raise UserError(f"{self.where}: options.arguments: expected weights `{UNTRAINED}`, got {self.weights!r}")

    @property
    def untrained(self) -> bool:
        return self.weights == UNTRAINED

    @property
    def file(self) -> Path | None:
        """The file of weights, where one is named. Raises UserError for one that is not there."""
        path = Path(self.weights).expanduser()
        if path.is_file():
            return path
        if is_path(self.weights):
            raise UserError(f"{self.where}: options.weights: not found: {self.weights}")
        return None

    @property
    def options(self) -> dict[str, Any]:
        """What of these changes the features."""
        drawn = {"seed": self.seed} if self.untrained else {}
        arguments = {"arguments": dict(self.arguments)} if self.arguments else {}
        return {"library": self.library, "model": self.model, "weights": self.weights} | drawn | arguments

    def refuse(self, reason: str, option: str = "model") -> UserError:
        return UserError(f"{self.where}: options.{option}: {reason}")

    def known(self, names: Sequence[str]) -> None:
        """Raises UserError where `model` is none of these."""
        if self.model not in names:
            # Some libraries have a thousand.
            some = f"it has {len(names)}, such as {', '.join(names[:5])}"
            raise self.refuse(f"{self.library} has no {self.model!r}; {nearest(self.model, names) or some}")

    def draw(self, make: Callable[[], nn.Module]) -> nn.Module:
        """A network with parameters drawn from the seed; the process's own generator is left alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            try:
                return make()
            except Exception as error:
                if not self.arguments:
                    raise
                raise self.refuse(" ".join(str(error).split())[:200], "arguments") from error

    @contextlib.contextmanager
    def fetching(self, remedy: str, option: str = "weights") -> Iterator[None]:
        """Whatever a library or a hub raises meanwhile becomes one line that ends in the remedy. option: that the
        remedy is written to."""
        # Its retries are said again and again; what counts is said below.
        hub = logging.getLogger("huggingface_hub")
        level = hub.level
        hub.setLevel(logging.ERROR)
        try:
            yield
        except UserError:
            raise
        except ModuleNotFoundError as error:
            raise not_installed(error, self.where, "encoders") from error
        except Exception as error:
            said = " ".join(str(error).split()).split(". ")[0][:200]
            if not self.untrained:
                remedy += f", or write `weights: {UNTRAINED}` to see the flow run"
            raise self.refuse(
                f"{self.library}'s {self.model} with weights {self.weights!r} cannot be had ({type(error).__name__}: "
                f"{said}); {remedy}",
                option,
            ) from error
        finally:
            hub.setLevel(level)

    def identity(self, network: nn.Module) -> str:
        """Of the parameters, from their values: a name or a file may hold others one day."""
        return f"{UNTRAINED} seed {self.seed}" if self.untrained else f"sha256 {digest(network)}"


@contextlib.contextmanager
def library(where: str) -> Iterator[None]:
    """One line where the imports inside fail because an optional library is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise not_installed(error, where, "encoders") from error


def read_state(path: Path, where: str) -> dict[str, Tensor]:
    """A state dict of a PyTorch or safetensors file, without the prefix of a data-parallel wrapper."""
    state: Any
    try:
        if path.suffix == ".safetensors":
            with library(where):
                from safetensors.torch import load_file
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except Exception as error:  # both raise whatever the damaged bytes lead them to
        raise UserError(f"{where}: options.weights: {path} cannot be read as a state dict") from error
    for key in ("state_dict", "model_state", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{where}: options.weights: {path} cannot be read as a state dict")
    return {name.removeprefix("module."): value for name, value in state.items()}


def load_state(network: nn.Module, state: Mapping[str, Tensor], heads: Sequence[str], source: Source) -> None:
    """Every parameter of the network from the state dict, which may also hold those of the heads that were cut off."""
    cut = tuple(f"{head}." for head in heads)
    try:
        network.load_state_dict({name: value for name, value in state.items() if not name.startswith(cut)})
    except RuntimeError as error:
        raise UserError(
            f"{source.where}: options.weights: {source.weights} does not hold the parameters of {source.model}"
        ) from error


def cut_last_layer(network: nn.Module, names: Sequence[str]) -> tuple[str, ...]:
    """Put nothing in the place of the classifying layer: the last linear layer or convolution of the first part of
    these names. Returns its name, with the dots of a state dict."""
    for name in names:
        head = getattr(network, name, None)
        if isinstance(head, nn.Linear):
            setattr(network, name, nn.Identity())
            return (name,)
        if isinstance(head, nn.Sequential):
            layers = [place for place, layer in head.named_children() if isinstance(layer, LAST_LAYERS)]
            setattr(head, layers[-1], nn.Identity())
            return (f"{name}.{layers[-1]}",)
    raise AssertionError(f"{type(network).__name__} has no head")


def digest(network: nn.Module) -> str:
    """Of names and values of all parameters and buffers."""
    whole = hashlib.sha256()
    for name, values in sorted(network.state_dict().items()):
        whole.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        whole.update(values.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()


# Precision


def check_precision(precision: str, where: str) -> None:
    if precision not in PRECISIONS:
        raise UserError(f"{where}: options.precision: expected one of {', '.join(PRECISIONS)}, got {precision!r}")


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """ "auto": bfloat16 where the device multiplies it natively, float32 elsewhere."""
    if precision == "bfloat16" or (precision == "auto" and _multiplies_bfloat16(device)):
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()


def _multiplies_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        # Without these units PyTorch emulates bfloat16, slower than float32.
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return False
