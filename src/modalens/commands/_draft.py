"""The config that `modalens init` writes: what was found as YAML, and beside it what a person may want instead."""

from dataclasses import dataclass
from typing import Any

import yaml

from modalens.commands._columns import Column
from modalens.config import rules
from modalens.plugins import introspection, registry
from modalens.terminal.run import printable

CLIPS_A_SHARD = 500


@dataclass
class Plan:
    """What is written. modalities: name -> entry of the config; more: further ones, as comments. columns: field or task
    -> column of the CSV."""

    csv: str
    media: str
    tasks: list[str]
    columns: dict[str, str]
    modalities: dict[str, Any]
    more: dict[str, Any]


def source_of(kind: str) -> str:
    """What a modality reads."""
    return str(introspection.attribute("modalities", kind, "source", "media"))


def of_source(source: str) -> list[str]:
    return [kind for kind in registry.names("modalities") if source_of(kind) == source]


def encoders(kind: str) -> list[str]:
    """Those that read a modality: the schema's own choice first, then those that need no weights."""
    form = introspection.attribute("modalities", kind, "form")
    usual = rules.schema()["properties"]["modalities"]["default"].get(kind)
    fit = [one for one in registry.names("encoders") if introspection.attribute("encoders", one, "input") == form]
    return sorted(fit, key=lambda one: (one != usual, "weights" in introspection.options("encoders", one), one))


def entry_of(kind: str, column: str, name: str = "") -> Any:
    """name: of the modality, where it is not its kind."""
    encoder = encoders(kind)[0]
    entry = {"encoder": encoder} | ({"kind": kind} if name else {})
    entry |= {"column": column} if column and column != (name or kind) else {}
    return entry if len(entry) > 1 else encoder


def written(name: str, plan: Plan, columns: list[Column], rows: int) -> str:
    """The config with comments: every value as YAML writes it, whatever a column is called."""
    others = [
        column.name
        for column in columns
        if column.role == "label" and column.name not in {*plan.tasks, *plan.columns.values()}
    ]
    of_a_number = {column.name for column in columns if column.role == "number"}
    of_numbers = [task for task in plan.tasks if plan.columns.get(task, task) in of_a_number]
    numbers = sorted(of_a_number - {plan.columns.get(task, task) for task in plan.tasks})
    dataset: dict[str, Any] = {"name": "folder", "csv": plan.csv} | ({"media": plan.media} if plan.media else {})
    dataset |= {"columns": plan.columns} if plan.columns else {}
    lines = [
        "# Written by `modalens init`. `modalens check` says what it comes to; config/README.md explains every key.",
        f"name: {_flow(name)}",
        "",
        "dataset:",
        *(f"  {key}: {_flow(value)}" for key, value in dataset.items()),
        "",
        "# Label columns, all over the same clips.",
        f"tasks: {_flow(plan.tasks)}",
        *([f"targets: {_flow(dict.fromkeys(of_numbers, 'regression'))}"] if of_numbers else []),
        *([f"# These could be tasks too: {_flow(others)}"] if others else []),
        *([f"# And these, of numbers, with targets: {{NAME: regression}}: {_flow(numbers)}"] if numbers else []),
    ]
    grouped = "group" in plan.columns or any(column.name == "group" for column in columns)
    if not grouped:
        lines += [
            "# No column says which clips share a source, so that each file is its own. If some do, name it, or a",
            "# model can recognise the source in place of the label. dataset: {columns: {group: COLUMN}}",
        ]
    lines += ["", "# About one per 500 clips.", f"shards: {max(1, round(rows / CLIPS_A_SHARD))}", "", "modalities:"]
    for modality, entry in plan.modalities.items():
        whole = {"encoder": entry} if isinstance(entry, str) else entry
        more = [one for one in encoders(modality) if one != whole["encoder"]]
        lines.append(f"  {modality}: {_flow(entry)}" + (f"  # or {', '.join(more)}" if more else ""))
        if "weights" in introspection.options("encoders", whole["encoder"]):
            lines.append("  # Its weights are fetched once. To see the flow without them, write in place of that line:")
            lines.append(f"  # {modality}: {_flow(whole | {'options': {'weights': 'untrained'}})}")
    lines += [f"  # {name}: {_flow(entry)}  # without what tells the label" for name, entry in plan.more.items()]
    used = {*plan.columns.values(), *plan.tasks}
    lines += _tables([one for one in columns if one.role in ("number", "other") and one.name not in used])
    return "\n".join(printable(line) for line in lines) + "\n"


def _tables(cells: list[Column]) -> list[str]:
    """No modality by itself: a column may hold the answer."""
    words = [column.name for column in cells if not column.numeric]
    lines = []
    for kind in filter(encoders, of_source("columns")) if cells else ():
        entry: dict[str, Any] = {"encoder": encoders(kind)[0], "columns": [column.name for column in cells]}
        if words and "categories" in introspection.options("modalities", kind):
            entry["decode"] = {"categories": words}
        lines.append(f"  # {kind}: {_flow(entry)}  # without what tells the label")
    return lines


def _flow(value: Any) -> str:
    return (
        yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=False).removesuffix("...\n").strip()
    )
