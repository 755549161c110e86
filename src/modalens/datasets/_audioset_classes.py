"""AudioSet's classes: class_labels_indices.csv (index, machine id, name) or ontology.json (names and children).

Source: Gemmeke et al. 2017, Audio Set: an ontology and human-labeled dataset for audio events.
"""

import re

from modalens.datasets import _published_lists
from modalens.utils.errors import UserError
from modalens.utils.suggest import nearest

MACHINE_ID = re.compile(r"/[a-z]/[0-9a-z_]+")
COLUMNS: _published_lists.Columns = {"index": (), "mid": ("id", "mids"), "display_name": ("name",)}


class Classes:
    """names: {machine id: display name}. children: {machine id: machine ids}, None where the file does not tell."""

    def __init__(self, location: str) -> None:
        self.location = location
        self.children: dict[str, list[str]] | None = None
        content = _published_lists.text(location)
        if _published_lists.is_json(content):
            self._read_ontology(content)
        else:
            self._read_indices(content)
        self._by_name = {_folded(name): machine_id for machine_id, name in self.names.items()}

    def find(self, name: str) -> str:
        """Machine id of a machine id or display name. Raises UserError with the nearest."""
        if name in self.names:
            return name
        if _folded(name) in self._by_name:
            return self._by_name[_folded(name)]
        near = nearest(name, (self.names[one] for one in self._by_name.values()), _folded)
        hint = near and f"; {near}"
        raise UserError(f"{self.location} has no class {name!r}{hint}")

    def below(self, machine_id: str) -> frozenset[str]:
        """The class and all under it. A class may have two parents."""
        if self.children is None:
            raise UserError(f"dataset audioset: descendants want the ontology.json as classes, not {self.location}")
        found, waiting = set(), [machine_id]
        while waiting:
            current = waiting.pop()
            if current not in found:
                found.add(current)
                waiting += self.children.get(current, [])
        return frozenset(found)

    def _read_indices(self, content: str) -> None:
        sheet = _published_lists.Sheet(self.location, content, COLUMNS, spread=", ")
        self.names: dict[str, str] = {}
        for line, (index, machine_id, name) in sheet.rows():
            if index != str(len(self.names)):
                raise UserError(
                    f"{sheet.place(line)}: index {index} where {len(self.names)} is wanted; rows are missing"
                )
            if not MACHINE_ID.fullmatch(machine_id):
                raise UserError(f"{sheet.place(line)}: {machine_id!r} is no class id such as /m/09x0r")
            self.names[machine_id] = name

    def _read_ontology(self, content: str) -> None:
        entries = _published_lists.parse_json(self.location, content)
        try:
            self.names = {entry["id"]: entry["name"] for entry in entries}
            self.children = {entry["id"]: list(entry["child_ids"]) for entry in entries}
        except (TypeError, KeyError) as error:
            raise UserError(f"{self.location}: every class wants id, name and child_ids; {error} is missing") from error
        for parent, children in self.children.items():
            unknown = set(children) - set(self.names)
            if unknown:
                raise UserError(f"{self.location}: {parent} has a child {min(unknown)} that is not there")


def _folded(name: str) -> str:
    return "".join(name.casefold().split())
