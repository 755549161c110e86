"""Which plugin from outside an error came out of: its author is to be told where, not how this program was called."""

import traceback
from pathlib import Path

from modalens.plugins import files, registry


def blamed(error: BaseException) -> str:
    """`FILE, line 7, in encode: KeyError: 'x'` for the innermost line of such a plugin, "" where none was at work."""
    outside = {str(path) for path in files.paths()}
    for kind in registry.KINDS:
        outside |= {str(plugin.path) for plugin in registry.members(kind).values()}
    outside = {path for path in outside if not Path(path).is_relative_to(registry.PACKAGE)}
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename in outside:
            said = " ".join(str(error).split())[:300]
            return f"{frame.filename}, line {frame.lineno}, in {frame.name}: {type(error).__name__}: {said}"
    return ""


def where(kind: str, name: str) -> str:
    """What to call a plugin that broke its contract: its file too where that is not this package's."""
    called = f"the {registry.singular(kind)} {name}"
    plugin = registry.members(kind).get(name)
    return f"{called} ({plugin.path})" if plugin and not plugin.path.is_relative_to(registry.PACKAGE) else called
