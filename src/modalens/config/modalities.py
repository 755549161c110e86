"""Modalities of a config: their entries with all defaults, and the decoded forms that they need."""

from pathlib import Path
from typing import Any

from modalens.modalities import load_modality
from modalens.plugins import introspection, options, registry
from modalens.utils.errors import UserError
from modalens.utils.files import digest, is_path

Config = dict[str, Any]
READS = {
    "media": "media files",
    "column": "one column",
    "columns": "several columns",
    "file": "the files that one column names",
    "store": "a file of its own",
}


def resolve(name: str, given: str | Config) -> Config:
    """An entry of `modalities` -> {kind, encoder, options, decode, keep}, and column or columns where it reads some.

    `{features: FILE, axes: [...]}` stands for the modality `features` and
    the encoder `given`. Raises UserError: where, what is wrong.
    """
    where = f"config: modalities.{name}"
    entry: Config = {"encoder": given} if isinstance(given, str) else dict(given)
    if "features" in entry:
        entry = _own_features(entry, where)
    elif "axes" in entry or "encoder" not in entry:
        missing = "features" if "axes" in entry else "encoder"
        raise UserError(f"{where}: the key {missing!r} is missing")
    kind = registry.get("modalities", entry.get("kind", name), where).name
    encoder = registry.get("encoders", entry["encoder"], where).name
    source = introspection.attribute("modalities", kind, "source", "media")
    read = _columns(name, entry, kind, source, where)
    known = introspection.options("modalities", kind)
    decode = dict(entry.get("decode", {}))
    if source == "columns":
        if strange := sorted(set(decode.get("categories", ())) - set(read)):
            raise UserError(f"{where}.decode.categories: {strange[0]!r} is none of the columns {', '.join(read)}")
        decode["columns"] = read
    for part, options_of, values in (
        ("options", introspection.options("encoders", encoder), entry.get("options", {})),
        ("decode", known, decode),
    ):
        options.validate(options_of, values, f"{where}.{part}")
    decode = {option.name: option.default for option in known.values() if not option.required} | decode
    decode = {option: value for option, value in decode.items() if value is not None}
    form, reads = (
        introspection.attribute("modalities", kind, "form"),
        introspection.attribute("encoders", encoder, "input"),
    )
    if form != reads:
        raise UserError(f"{where}: the encoder {encoder} reads {reads}, but {kind} is decoded to {form}")
    try:
        made = load_modality(kind, decode).attributes()  # what cannot be is said now, not by a job
    except UserError as error:
        raise UserError(f"{where}.decode: {error}") from error
    for option in introspection.attribute("encoders", encoder, "paths", ()):
        value = entry.get("options", {}).get(option, "")
        if is_path(value) and not Path(value).expanduser().exists():
            remedy = f"paths count from {Path.cwd()}"
            if Path(value).parts[0] == ".weights":
                remedy = "run `make weights` first"
            elif option == "weights":
                remedy += "; a set of the library's own, or `untrained`, needs no file"
            raise UserError(f"{where}.options.{option}: not found: {value} ({remedy})")
    for option, value in introspection.attribute("encoders", encoder, "expected", {}).items():
        if made.get(option) != value:
            raise UserError(f"{where}.decode.{option}: {encoder} expects {value}, got {made.get(option)}")
    resolved = {
        "kind": kind,
        "encoder": encoder,
        "options": entry.get("options", {}),
        "decode": decode,
        "keep": entry.get("keep", introspection.attribute("modalities", kind, "keep", False)),
    }
    return resolved | ({"columns": read} if source == "columns" else {"column": read[0]} if read else {})


def _own_features(entry: Config, where: str) -> Config:
    others = ("column", "columns", "decode", "encoder", "kind", "options")
    if strange := [key for key in others if entry.get(key)]:
        raise UserError(f"{where}: features are read as they are; leave the key {strange[0]!r} out")
    axes = {"axes": entry["axes"]} if "axes" in entry else {}
    made = {"kind": "features", "encoder": "given", "options": axes, "decode": {"file": entry["features"]}}
    return made | ({"keep": entry["keep"]} if "keep" in entry else {})


def _columns(name: str, entry: Config, kind: str, source: str, where: str) -> list[str]:
    """Of the annotations: those that the entry names, else one called as the modality."""
    takes = {"columns": "columns", "column": "column", "file": "column"}.get(source)
    for key in ("column", "columns"):
        if key in entry and key != takes:
            raise UserError(f"{where}.{key}: {kind} reads {READS[source]}; expected {takes or 'no such key'}")
    if takes is None:
        return []
    if takes == "column":
        return [entry.get("column", name)]
    if not entry.get("columns"):
        raise UserError(f"{where}: the key 'columns' is missing: the columns of the annotations that {kind} reads")
    return list(entry["columns"])


def columns(config: Config) -> list[str]:
    """Columns of the annotations that modalities of a resolved config read."""
    return sorted({column for entry in config["modalities"].values() for column in _read(entry)})


def file_columns(config: Config) -> list[str]:
    """Those of `columns` whose cells name files."""
    return sorted(
        {column for entry in config["modalities"].values() if _source(entry) == "file" for column in _read(entry)}
    )


def media(config: Config) -> str:
    """Whether a clip's media file is "required", "optional" or read by "none" of a resolved config's modalities."""
    read = [_source(entry) == "media" for entry in config["modalities"].values()]
    return "required" if all(read) else "optional" if any(read) else "none"


def _read(entry: Config) -> list[str]:
    """Columns of the annotations, of a resolved entry."""
    return list(entry.get("columns", [entry["column"]] if "column" in entry else []))


def _source(entry: Config) -> str:
    return str(introspection.attribute("modalities", entry["kind"], "source", "media"))


def forms(config: Config) -> dict[str, Config]:
    """Decoded forms of a resolved config by folder: {modality (its kind), decode, columns, store, keep, longest (s),
    environment}.

    A form is decoded once for all modalities that share its options. Its folder is called as the form; where a modality
    reads columns, or is not called as its kind, as the form and the modality.
    """
    found: dict[str, Config] = {}
    longest = window_s(config)
    for name, entry in _in_order(config):
        folder = form_of(config, name)
        keep = entry["keep"] or found.get(folder, {}).get("keep", False)
        found[folder] = {
            "modality": entry["kind"],
            "decode": entry["decode"],
            "columns": _read(entry),
            "store": entry["decode"]["file"] if _source(entry) == "store" else "",
            "keep": keep,
            "longest": longest if _source(entry) == "media" else None,
            "environment": load_modality(entry["kind"], entry["decode"]).environment,
        }
    return dict(sorted(found.items()))


def learnt(model: Config) -> list[str]:
    """Modalities whose decoded form a model of a resolved config reads."""
    return [name for name in model["modalities"] if name in model["training"]["encoders"]]


def encoded(config: Config) -> list[str]:
    """Modalities of a resolved config whose features are cached: not those that every model which looks at them learns
    through their encoder."""

    def cached(name: str) -> bool:
        looking = [model for model in config["models"].values() if name in model["modalities"]]
        return not looking or any(name not in learnt(model) for model in looking)

    return [name for name in sorted(config["modalities"]) if cached(name)]


def window_s(config: Config) -> float | None:
    """Seconds of a clip that its modalities are decoded from, at most: as many as each of them can hold."""
    media = [entry for entry in config["modalities"].values() if _source(entry) == "media"]
    held = [load_modality(entry["kind"], entry["decode"]).seconds for entry in media]
    return min((one for one in held if one is not None), default=None)


def form_of(config: Config, name: str) -> str:
    """Folder of the decoded form that a modality's encoder reads."""
    wanted = _key(config["modalities"][name])
    first = next(other for other, entry in _in_order(config) if _key(entry) == wanted)
    entry = config["modalities"][first]
    form: str = introspection.attribute("modalities", entry["kind"], "form")
    return form if first == entry["kind"] and not _read(entry) else f"{form}_{first}"


def _key(entry: Config) -> str:
    return digest(entry["kind"], entry["decode"], _read(entry))


def _in_order(config: Config) -> list[tuple[str, Config]]:
    """Those that are called as their kind first: a modality more does not rename the folder of another."""
    return sorted(config["modalities"].items(), key=lambda item: (item[0] != item[1]["kind"], item[0]))
