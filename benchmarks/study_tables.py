"""The table of a study's page in docs/studies/: accuracy, its interval, top-k, and the difference from late fusion.

    python benchmarks/study_tables.py results/flipkart [results/...]

Prints Markdown, a table a task.
"""

import argparse
from pathlib import Path

import pandas as pd


def table(board: pd.DataFrame) -> pd.DataFrame:
    """board: leaderboard/<task>.csv."""
    lines = []
    for row in board.to_dict("records"):
        # Logistic regression draws nothing: its seeds are alike.
        spread = f" ± {100 * row['accuracy_std']:.1f}" if row["accuracy_std"] >= 0.0005 else ""
        line = {
            "model": f"`{row['model']}`",
            "accuracy, %": f"{100 * row['accuracy']:.1f}{spread}",
            "95 % interval": f"{100 * row['low']:.1f} to {100 * row['high']:.1f}",
        }
        for top in (3, 5):
            if pd.notna(row.get(f"top{top}_accuracy")):
                line[f"top-{top}, %"] = f"{100 * row[f'top{top}_accuracy']:.1f}"
        if row["verdict"] == "reference":
            line[f"against {row['reference']}, points"] = ""
        else:
            points = f"{100 * row['difference']:+.1f}".replace("-", "−")
            line[f"against {row['reference']}, points"] = f"{points}, {row['verdict']}"
        lines.append(line)
    return pd.DataFrame(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", type=Path, nargs="+", help="results of finished studies")
    for study in parser.parse_args().studies:
        boards = sorted((study / "leaderboard").glob("*.csv"))
        if not boards:
            raise SystemExit(f"{study}: expected the results of a finished study, got no leaderboard/*.csv in it")
        for path in boards:
            board = pd.read_csv(path)
            first = board.iloc[0]
            print(f"## {study.name}, {path.stem}\n\n{table(board).to_markdown(index=False, disable_numparse=True)}\n")
            print(", ".join(f"{first[name]:.0f} {name}" for name in ("clips", "groups", "seeds")) + "\n")


if __name__ == "__main__":
    main()
