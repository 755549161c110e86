"""Modalities of a config: their entries with all defaults, and the decoded forms that they need."""

from typing import Any

from modalens.modalities import load_modality
from modalens.plugins import introspection, options, registry
from modalens.utils.errors import UserError
from modalens.utils.files import digest

Config = dict[str, Any]


def resolve(name: str, given: str | Config) -> Config:
    """An entry of `modalities` -> {kind, encoder, options, decode, keep}, and column where it reads one.

    Raises UserError: where, what is wrong.
    """
    where = f"config: modalities.{name}"
    entry: Config = {"encoder": given} if isinstance(given, str) else dict(given)
    kind = registry.get("modalities", entry.get("kind", name), where).name
    encoder = registry.get("encoders", entry["encoder"], where).name
    known = introspection.options("modalities", kind)
    for part, options_of in (("options", introspection.options("encoders", encoder)), ("decode", known)):
        options.validate(options_of, entry.get(part, {}), f"{where}.{part}")
    decode = {option.name: option.default for option in known.values() if not option.required} | entry.get("decode", {})
    form, reads = (
        introspection.attribute("modalities", kind, "form"),
        introspection.attribute("encoders", encoder, "input"),
    )
    if form != reads:
        raise UserError(f"{where}: the encoder {encoder} reads {reads}, but {kind} is decoded to {form}")
    source = introspection.attribute("modalities", kind, "source", "media")
    if source == "media" and "column" in entry:
        raise UserError(f"{where}.column: {kind} reads media files, no column")
    try:
        load_modality(kind, decode)  # what cannot be is said now, not by a job
    except UserError as error:
        raise UserError(f"{where}.decode: {error}") from error
    resolved = {
        "kind": kind,
        "encoder": encoder,
        "options": entry.get("options", {}),
        "decode": decode,
        "keep": entry.get("keep", introspection.attribute("modalities", kind, "keep", False)),
    }
    return resolved | ({"column": entry.get("column", name)} if source == "column" else {})


def columns(config: Config) -> list[str]:
    """Columns of the annotations that modalities of a resolved config read."""
    return sorted({entry["column"] for entry in config["modalities"].values() if "column" in entry})


def forms(config: Config) -> dict[str, Config]:
    """Decoded forms of a resolved config by folder: {modality (its kind), decode, column, keep, longest (seconds)}.

    A form is decoded once for all modalities that share its options. Its folder is called as the form; where a modality
    reads a column, or is not called as its kind, as the form and the modality.
    """
    found: dict[str, Config] = {}
    longest = window_s(config)
    for name, entry in _in_order(config):
        folder = form_of(config, name)
        keep = entry["keep"] or found.get(folder, {}).get("keep", False)
        found[folder] = {
            "modality": entry["kind"],
            "decode": entry["decode"],
            "column": entry.get("column", ""),
            "keep": keep,
            "longest": None if "column" in entry else longest,
        }
    return dict(sorted(found.items()))


def window_s(config: Config) -> float | None:
    """Seconds of a clip that its modalities are decoded from, at most: as many as each of them can hold."""
    media = [entry for entry in config["modalities"].values() if "column" not in entry]
    held = [load_modality(entry["kind"], entry["decode"]).seconds for entry in media]
    return min((one for one in held if one is not None), default=None)


def form_of(config: Config, name: str) -> str:
    """Folder of the decoded form that a modality's encoder reads."""
    wanted = _key(config["modalities"][name])
    first = next(other for other, entry in _in_order(config) if _key(entry) == wanted)
    entry = config["modalities"][first]
    form: str = introspection.attribute("modalities", entry["kind"], "form")
    return form if first == entry["kind"] and "column" not in entry else f"{form}_{first}"


def _key(entry: Config) -> str:
    return digest(entry["kind"], entry["decode"], entry.get("column", ""))


def _in_order(config: Config) -> list[tuple[str, Config]]:
    """Those that are called as their kind first: a modality more does not rename the folder of another."""
    return sorted(config["modalities"].items(), key=lambda item: (item[0] != item[1]["kind"], item[0]))
