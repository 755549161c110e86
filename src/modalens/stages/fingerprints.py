"""Stage `fingerprints`: decoded clips of a shard -> content digests and sketches."""

import argparse
import tempfile
from pathlib import Path

import pandas as pd

from modalens.curation.fingerprints import columns, write_sketches
from modalens.modalities import load_modality
from modalens.tracking import records
from modalens.utils import cli, files, hdf5, row_cache
from modalens.utils.csv_tables import earlier_table, read_table
from modalens.utils.shelf import Shelf

WORDS = ["digest", "word"]  # columns of what studies share


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clips", type=Path, required=True, help="status table of stage clips, one shard")
    parser.add_argument("--decoded", type=cli.pair, nargs="+", required=True, help="FORM=PATH of the decoded clips")
    parser.add_argument("--forms", type=cli.mapping, required=True, help="{form: {modality, decode}}, JSON")
    parser.add_argument("--made", default="", help="digest of the code: what other code made is not kept")
    parser.add_argument("--output", type=Path, required=True, help="folder; files are called as the shard")
    parser.add_argument("--cache", type=Path, help="folder of what studies share")
    cli.add_common(parser, "record")


def main(arguments: argparse.Namespace) -> None:
    clips = read_table(arguments.clips)
    output = arguments.output / f"{arguments.clips.stem}.csv"
    names = [name for form, _ in sorted(arguments.decoded) for name in columns(form)]
    before = earlier_table(output, ["clip_id", *names]).set_index("clip_id")
    table = pd.DataFrame("", index=pd.Index(clips["clip_id"], name="clip_id"), columns=names)
    for form, path in sorted(arguments.decoded):
        modality = load_modality(arguments.forms[form]["modality"], arguments.forms[form]["decode"])
        sketches = arguments.output / form / f"{arguments.clips.stem}.h5"
        attributes = hdf5.attributes(path)
        there, wanted = row_cache.partition_cached(
            path, sketches, attributes, arguments.made, set(before.index), arguments.cache
        )
        for file, rows in there.items():
            known = before[columns(form)] if file == sketches else _beside(file)
            table.loc[list(rows), columns(form)] = known.loc[list(rows)].to_numpy()
        for clip_id, *cells in write_sketches(modality, path, sketches, attributes, there, wanted):
            table.loc[clip_id, columns(form)] = cells
        if wanted:
            _share(arguments, sketches, table[columns(form)])
    table = table[(table != "").any(axis=1)]
    files.write_text(output, table.reset_index().to_csv(index=False, lineterminator="\n"))
    run = records.Run(key={"shard": arguments.clips.stem}, metrics={"clips": float(len(table))})
    records.write(arguments.record, "fingerprints", [run])


def _share(arguments: argparse.Namespace, sketches: Path, cells: pd.DataFrame) -> None:
    """The table before the sketches: whoever finds these finds their digests and words."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "words.csv"
        files.write_text(table, cells.set_axis(WORDS, axis=1).reset_index().to_csv(index=False, lineterminator="\n"))
        Shelf(arguments.cache, arguments.made, sketches.stem).put(table, sketches)


def _beside(sketches: Path) -> pd.DataFrame:
    return read_table(sketches.with_suffix(".csv"), ["clip_id", *WORDS]).set_index("clip_id")[WORDS]
