"""Reference pages made from what the program itself reads: the schema, the command lines, the plugins, the docstrings.

A hook of MkDocs. By itself it writes the keys into config/README.md, for who reads the repository without the site:
    PYTHONPATH=src python docs/reference.py
"""

import argparse
import importlib
import inspect
import json
import re
import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from markdown.extensions import Extension

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from modalens import __main__ as program  # noqa: E402
from modalens.config.rules import schema  # noqa: E402
from modalens.plugins import registry  # noqa: E402
from modalens.plugins.options import constructors, parameters  # noqa: E402
from modalens.utils import cli  # noqa: E402

KEYS_BEGIN, KEYS_END = "<!-- keys: made by docs/reference.py -->", "<!-- /keys -->"
# Files of the top level that are pages of the site too.
TOP_LEVEL = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
TITLES = {
    "datasets": "Data sets", "modalities": "Modalities", "encoders": "Encoders", "models": "Models",
    "fusions": "Fusions", "balancing": "Balancing methods", "measures": "Measures",
}  # fmt: skip
WHERE = {
    "datasets": "`dataset`, beside `name`", "modalities": "`modalities.NAME.decode`",
    "encoders": "`modalities.NAME.options`", "models": "`models.NAME.options`",
    "fusions": "`models.NAME.options.fusion_options`", "balancing": "`models.NAME.balancing.METHOD`",
    "measures": "`relevance.measures.MEASURE`",
}  # fmt: skip


class _PlainAngles(Extension):
    """`p_<class>` in a docstring is text, not a tag."""

    def extendMarkdown(self, md: Any) -> None:
        md.inlinePatterns.deregister("html")


def on_config(config: Any) -> Any:
    """Event of MkDocs, before anything is read."""
    config.markdown_extensions.append(_PlainAngles())
    return config


def on_files(files: Any, config: Any) -> Any:
    """Event of MkDocs: the pages that no file holds."""
    from mkdocs.structure.files import File

    pages = {
        "reference/config.md": config_page(),
        "reference/commands.md": commands_page(),
        "reference/plugins.md": plugins_page(),
        **{name: _as_page((ROOT / source).read_text(encoding="utf-8")) for name, source in TOP_LEVEL.items()},
    }
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Event of MkDocs: what a page links to outside docs/, for who reads it without the site, is a page of the site."""
    for name, source in TOP_LEVEL.items():
        markdown = markdown.replace(f"](../{source})", f"]({name})")
    return re.sub(r"\]\(\.\./src/modalens(/\w+)?\)", "](reference/plugins.md)", markdown)


# Config


def config_keys() -> Iterator[tuple[str, str, str, str]]:
    """(key, type, default, meaning) of every key of the schema, in its order."""
    rules = schema()
    yield from _keys(rules, "", rules)


def _keys(node: dict[str, Any], prefix: str, rules: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    for name, given in node.get("properties", {}).items():
        child = _resolved(given, rules)
        needed = name in node.get("required", ())
        yield prefix + name, _type(child), "required" if needed else _default(child), child.get("description", "")
        yield from _keys(child, f"{prefix}{name}.", rules)
        for extra in _mappings(child.get("additionalProperties"), rules):
            yield from _keys(extra, f"{prefix}{name}.NAME.", rules)


def _mappings(extra: Any, rules: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What stands under names that the user chooses: the forms of it that have keys of their own."""
    if isinstance(extra, dict):
        extra = _resolved(extra, rules)
        for form in [extra, *extra.get("anyOf", []), *extra.get("oneOf", [])]:
            # Ranges of a search have low, high, log under any name; the description says it.
            if "properties" in form and "low" not in form["properties"]:
                yield form


def _resolved(node: dict[str, Any], rules: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in node:
        return node
    rest = {key: value for key, value in node.items() if key != "$ref"}
    return {**rules["$defs"][node["$ref"].rsplit("/", 1)[-1]], **rest}


def _type(node: dict[str, Any]) -> str:
    if "enum" in node:
        return " or ".join(f"`{value}`" for value in node["enum"])
    if "const" in node:
        return f"`{node['const']}`"
    if "anyOf" in node or "oneOf" in node:
        return " or ".join(_type(form) for form in node.get("anyOf", node.get("oneOf")))
    kinds = node.get("type", "any")
    names = {"object": "mapping", "array": "list", "string": "text", "null": "nothing"}
    return " or ".join(names.get(kind, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds))


def _default(node: dict[str, Any]) -> str:
    value = node.get("default")
    # What has keys of its own says its defaults there.
    if value is None or value == {} or (isinstance(value, dict) and "properties" in node):
        return ""
    return f"`{json.dumps(value)}`"


def keys_table(rows: Iterable[tuple[str, str, str, str]] | None = None) -> str:
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    lines += [" | ".join([f"| `{key}`", *map(_cell, rest)]) + " |" for key, *rest in rows or config_keys()]
    return "\n".join(lines)


def keys_sections() -> str:
    """A section for each key of the top level that has keys below it; one for the others, first."""
    groups = {key: list(rows) for key, rows in groupby(config_keys(), lambda row: row[0].split(".")[0])}
    single = [rows[0] for rows in groups.values() if len(rows) == 1]
    parts = ["## A study", keys_table(single)]
    for key, (head, *rows) in groups.items():
        if rows:
            default = f" Default: {head[2]}." if head[2] not in ("", "required") else ""
            parts += [f"## {key}", f"{head[3]}{default}", keys_table(rows)]
    return "\n\n".join(parts)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def config_page() -> str:
    intro = (
        "A study is one YAML file: `snakemake --cores N --configfile config/my_study.yaml`. It stands alone: nothing "
        "is inherited from the demo. An unknown key, a wrong type or an option that a plugin does not take stops the "
        "run before it begins, in one line that says where. `NAME` stands for a name that you choose. "
        "[Plugins and their options](plugins.md) lists what may stand under `options` and `decode`."
    )
    shown = "`modalens config --configfile config/my_study.yaml` prints a study with every default written out."
    return f"# Config\n\n{intro}\n\n{shown}\n\n{keys_sections()}\n"


# Command line


def commands_page() -> str:
    parts = [
        "# Command line",
        "`modalens COMMAND`, or `python -m modalens COMMAND` in a checkout. The workflow calls the stages; the other "
        "commands are for you. A mistake of the user's ends in one line and exit status 1.",
        "## Commands",
        *(_command("commands", name) for name in program.COMMANDS),
        "## Stages",
        "In the order in which the workflow runs them.",
        *(_command("stages", name) for name in program.STAGES),
    ]
    return "\n\n".join(parts) + "\n"


def _command(folder: str, name: str) -> str:
    module = importlib.import_module(f"modalens.{folder}.{name}")
    parser = cli.parser(module)
    rows = ["| option | default | meaning |", "|---|---|---|"]
    for action in parser._actions:
        if not isinstance(action, argparse._HelpAction):
            default = action.default
            shown = "" if default in (None, [], {}, "", False) or action.required else f"`{default}`"
            shown = "required" if action.required else shown
            rows.append(f"| `{_flags(action)}` | {shown} | {_cell(_plain(_meaning(action)))} |")
    table = "\n".join(rows) if len(rows) > 2 else ""
    return f"### modalens {name}\n\n{_plain(_first_person(module))}\n\n{table}"


def _flags(action: argparse.Action) -> str:
    name = ", ".join(action.option_strings) or str(action.metavar or action.dest)
    if action.nargs == 0 or not action.option_strings:
        return name
    choices = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else ""
    value = action.metavar if isinstance(action.metavar, str) else choices or action.dest.upper()
    return f"{name} {value}" + (" ..." if action.nargs in ("+", "*") else "")


def _meaning(action: argparse.Action) -> str:
    return (action.help or "").replace("%(default)s", str(action.default)).replace("%%", "%")


def _first_person(module: Any) -> str:
    return inspect.cleandoc(module.__doc__ or "")


# Plugins


def plugins_page() -> str:
    parts = [
        "# Plugins and their options",
        "What this installation has, from the classes themselves. [Add your own](../extending.md): each kind is found "
        "in a file that the config names, or in an installed package.",
    ]
    for kind in registry.KINDS:
        if members := registry.names(kind):
            parts += [f"## {TITLES[kind]}", f"Options go under {WHERE[kind]}."]
            parts += [_plugin(kind, name) for name in members]
    return "\n\n".join(parts) + "\n"


def _plugin(kind: str, name: str) -> str:
    made = registry.load(kind, name)
    options = list(parameters(made).values())
    texts, meanings = [], {}
    for source in (sys.modules[made.__module__], made, made.__init__):
        # Not what a class inherits: that is said where it is.
        own = vars(source).get("__doc__") if isinstance(source, type) else source.__doc__
        rest, found = _told(inspect.cleandoc(own or ""), [option.name for option in options])
        texts += [rest] if rest not in texts else []
        meanings |= found
    for inherited in list(constructors(made))[1:]:
        _, found = _told(inspect.cleandoc(inherited.__doc__ or ""), [option.name for option in options])
        meanings = found | meanings
    rows = ["| option | type | default | meaning |", "|---|---|---|---|"]
    for option in options:
        annotation = "" if option.annotation is option.empty else inspect.formatannotation(option.annotation)
        default = "required" if option.default is option.empty else f"`{option.default!r}`"
        kind_of = _plain(annotation.replace("typing.", "").replace("collections.abc.", ""))
        rows.append(
            " | ".join([f"| `{option.name}`", *map(_cell, (kind_of, default, meanings.get(option.name, "")))]) + " |"
        )
    parts = [f"### {name}", *(_plain(text) for text in texts if text), *(["\n".join(rows)] if options else [])]
    return "\n\n".join(parts)


def _told(text: str, names: list[str]) -> tuple[str, dict[str, str]]:
    """A docstring -> what it says beside the options, and of each option that it explains as `name: ...`."""
    if not names:
        return text, {}
    name = "|".join(map(re.escape, names))
    begin = re.compile(rf"(?:^|(?<=[.;] ))((?:{name})(?:(?:, | and )(?:{name}))*): ")
    rest, found = [], {}
    for paragraph in re.split(r"\n\s*\n", text):
        before, *pairs = begin.split(" ".join(paragraph.split()))
        if not pairs:
            rest.append(paragraph)
            continue
        rest.append(before.strip())
        for heads, meaning in zip(pairs[::2], pairs[1::2], strict=True):
            for head in re.split(r", | and ", heads):
                found[head] = _sentence(meaning.strip())
    return "\n\n".join(part for part in rest if part), found


# Text


def _sentence(text: str) -> str:
    # A name of a file or of a key keeps its first letter.
    return _plain(text[:1].upper() + text[1:] if re.match(r"[a-z]+[ ,;.]", text) else text)


def _plain(text: str) -> str:
    """A docstring as Markdown that reads as it was written; what stands in backticks stays code."""
    pieces = re.split(r"(`[^`]+`)", text)
    return "".join(piece if piece.startswith("`") else re.sub(r"([*_<\[\]])", r"\\\1", piece) for piece in pieces)


def _as_page(text: str) -> str:
    """Links of a file at the top level, as they are from docs/."""
    return text.replace("](docs/", "](")


def write_config_readme() -> None:
    path = ROOT / "config" / "README.md"
    path.write_text(with_keys(path.read_text(encoding="utf-8")), encoding="utf-8")


def with_keys(text: str) -> str:
    before, _, rest = text.partition(KEYS_BEGIN)
    _, _, after = rest.partition(KEYS_END)
    return f"{before}{KEYS_BEGIN}\n{keys_table()}\n{KEYS_END}{after}"


if __name__ == "__main__":
    write_config_readme()
