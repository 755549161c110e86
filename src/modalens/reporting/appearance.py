"""How a modality looks to a reader: label and color as its plugin states them, else its own name and another color."""

from collections.abc import Iterable, Mapping
from typing import Any

from modalens.plugins import introspection, registry

# Okabe and Ito's colors, told apart by the colour-blind, for modalities that state none.
OTHERS = ("#009E73", "#CC79A7", "#7A5C00", "#56B4E9", "#8C6BB1")


def kinds(config: Mapping[str, Any]) -> dict[str, str]:
    """{modality: kind} of a resolved config."""
    return {name: entry["kind"] for name, entry in (config.get("modalities") or {}).items()}


def stated(modality: str, attribute: str, default: str, kind: str = "") -> str:
    kind = kind or modality
    if kind not in registry.names("modalities"):
        return default
    return str(introspection.attribute("modalities", kind, attribute, default) or default)


def label(modality: str, kind: str = "") -> str:
    """ "Audio"; a modality that is not called as its kind keeps its own name."""
    return modality.capitalize() if kind and kind != modality else stated(modality, "label", modality.capitalize())


def colors(modalities: Iterable[str]) -> dict[str, str]:
    """A color each: the stated one of a modality that is called as its kind, the others in turn."""
    names = sorted(set(modalities))
    found = {name: stated(name, "color", "") for name in names}
    others = [name for name in names if not found[name]]
    return found | {name: OTHERS[index % len(OTHERS)] for index, name in enumerate(others)}


def withheld(modality: str, replacement: str, kind: str = "") -> str:
    """A row of the seed paper's tables: "Silent Audio", "Black Video", "Gaussian Audio"; of a replacement that they do
    not have, "Without Audio (mean@fusion)"."""
    words = {"gaussian@input": "gaussian", "blank@input": stated(modality, "blank_name", "blank", kind)}
    if replacement not in words:
        return f"Without {label(modality, kind)} ({replacement})"
    return f"{words[replacement].capitalize()} {label(modality, kind)}"
