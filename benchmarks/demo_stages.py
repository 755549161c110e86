"""Where the time of a study went: jobs, processor time and wall time of each stage, from Snakemake's benchmark files.

    python benchmarks/demo_stages.py results/demo [another/results/demo ...]

Of several studies (before and after a change) a table with a column each. Processor time is what compares between runs
on a machine that did other work as well. Snakemake looks at a job every few seconds: of a short job it misses the end.
"""

import argparse
from pathlib import Path

import pandas as pd


def stages(study: Path) -> pd.DataFrame:
    """stage -> jobs, processor (s, user and system) and wall (s, summed over jobs)."""
    rows = []
    for path in sorted((study / "benchmarks").rglob("*.tsv")):
        told = pd.read_csv(path, sep="\t", na_values="NA").iloc[-1]
        stage = path.relative_to(study / "benchmarks").parts[0].removesuffix(".tsv")
        rows.append({"stage": stage, "jobs": 1, "processor": told["cpu_time"], "wall": told["s"]})
    if not rows:
        raise SystemExit(f"{study} holds no benchmarks/**/*.tsv: run the study first")
    return pd.DataFrame(rows).groupby("stage", sort=False).sum()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", type=Path, nargs="+", help="results/<study>")
    found = {str(study): stages(study) for study in parser.parse_args().studies}
    table = pd.concat(found, axis=1).fillna(0)
    table.loc["all"] = table.sum()
    print(table.round(1).to_string())


if __name__ == "__main__":
    main()
