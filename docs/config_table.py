"""The table of config keys, written from the schema: `python docs/config_table.py` puts it into config/README.md."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modalens.config.resolve import schema

README = Path(__file__).resolve().parents[1] / "config" / "README.md"
HEAD = "| key | type | default | meaning |\n|---|---|---|---|\n"
TYPES = {"object": "mapping", "array": "list"}


def rows(properties: dict[str, Any], rules: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, node in properties.items():
        whole = {**rules["$defs"][node["$ref"].rsplit("/", 1)[-1]], **node} if "$ref" in node else node
        default = whole.get("default")
        shown = "" if default is None or isinstance(default, dict) else f"`{json.dumps(default)}`"
        yield f"| `{prefix}{name}` | {_type(whole)} | {shown} | {whole.get('description', '')} |\n"
        children = dict(whole.get("properties", {}))
        if isinstance(default, dict):  # of a shared definition: defaults stand beside the reference
            children = {
                key: {**child, "default": default.get(key, child.get("default"))} for key, child in children.items()
            }
        yield from rows(children, rules, f"{prefix}{name}.")
        extra = whole.get("additionalProperties")
        if isinstance(extra, dict) and "properties" in extra:
            yield from rows(extra["properties"], rules, f"{prefix}{name}.NAME.")


def _type(node: dict[str, Any]) -> str:
    if "enum" in node:
        return " or ".join(f"`{value}`" for value in node["enum"])
    kinds = node.get("type", "")
    return " or ".join(TYPES.get(kind, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds))


def table() -> str:
    rules = schema()
    return HEAD + "".join(rows(rules["properties"], rules))


def main() -> None:
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(HEAD, 1)
    lines = rest.split("\n")
    end = next(index for index, line in enumerate(lines) if not line.startswith("|"))
    README.write_text(before + table() + "\n".join(lines[end:]), encoding="utf-8")


if __name__ == "__main__":
    main()
