"""Stage `fingerprints`: decoded clips of a shard -> content digests and sketches."""

import argparse
from pathlib import Path

import pandas as pd

from modalens.curation.fingerprints import COLUMNS, WORDS, write_sketches
from modalens.tracking import records
from modalens.utils import cli, files, hdf5, row_cache
from modalens.utils.csv_tables import earlier_table, read_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clips", type=Path, required=True, help="status table of stage clips, one shard")
    parser.add_argument("--decoded", type=cli.pair, nargs="+", required=True, help="frames=PATH waveforms=PATH")
    parser.add_argument("--made", default="", help="digest of the code: what other code made is not kept")
    parser.add_argument("--output", type=Path, required=True, help="folder; files are called as the shard")
    parser.add_argument("--record", type=Path, required=True, help="JSON for MLflow")


def main(arguments: argparse.Namespace) -> None:
    clips = read_table(arguments.clips)
    good = clips[clips["status"] == "ok"]
    output = arguments.output / f"{arguments.clips.stem}.csv"
    before = earlier_table(output, ["clip_id", *COLUMNS]).set_index("clip_id")
    table = pd.DataFrame("", index=pd.Index(good["clip_id"], name="clip_id"), columns=COLUMNS)
    for stage, path in sorted(arguments.decoded):
        columns = [stage, WORDS[stage][0]]
        sketches = arguments.output / stage / f"{arguments.clips.stem}.h5"
        attributes = hdf5.attributes(path)
        stay, wanted = row_cache.partition_cached(path, sketches, attributes, arguments.made, set(before.index))
        table.loc[list(stay), columns] = before.loc[list(stay), columns]
        for clip_id, *cells in write_sketches(stage, path, sketches, attributes, stay, wanted):
            table.loc[clip_id, columns] = cells
    files.write_text(output, table.reset_index().to_csv(index=False, lineterminator="\n"))
    run = records.Run(key={"shard": arguments.clips.stem}, metrics={"clips": float(len(table))})
    records.write(arguments.record, "fingerprints", [run])
