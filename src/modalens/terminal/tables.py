"""Rows of cells for a terminal."""


def aligned(rows: list[list[str]], indent: str = "  ") -> list[str]:
    """Cells of a column one below the other; the last cell of the longest rows stands free."""
    places = range(max(map(len, rows)) - 1)
    widths = [max((len(row[place]) for row in rows if len(row) > place + 1), default=0) for place in places]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append((indent + "  ".join([*cells, *row[len(widths) :]])).rstrip())
    return lines
