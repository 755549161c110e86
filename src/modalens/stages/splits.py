"""Stage `splits`: labels of one task and what was decoded -> train, validation and test lists that share no group."""

import argparse
from pathlib import Path

import pandas as pd

from modalens.curation import frozen_diff, targets
from modalens.curation.all_failed import expect_some
from modalens.curation.splitting import (
    COLUMNS,
    LACKS,
    NAMES,
    assign,
    class_counts,
    failures,
    keep_incomplete,
    lacking,
    log,
    off,
    official,
    shared_groups,
    sizes,
    validate_fractions,
)
from modalens.stats.targets import CLASSES, MULTILABEL, TARGETS
from modalens.tracking import records
from modalens.utils import cli, files
from modalens.utils.csv_tables import read_table
from modalens.utils.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--labels", type=Path, required=True, help="manifest/labels/TASK.csv")
    parser.add_argument("--target", choices=list(TARGETS), default=CLASSES, help="what the labels are")
    parser.add_argument("--study", type=Path, required=True, help="the study's results folder")
    parser.add_argument("--stages", nargs="+", default=["clips"], help="a clip counts that went well in all of these")
    parser.add_argument(
        "--fractions", type=cli.mapping, default='{"train": 0.7, "validation": 0.1, "test": 0.2}', help="JSON, sum 1"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the shuffle of the groups")
    parser.add_argument("--allow-overlap", action="store_true", help="go on when an official split shares groups")
    parser.add_argument(
        "--incomplete", type=cli.pair, nargs="*", default=[], help="MODALITY=FORM: keep clips that lack one, not all"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder")
    cli.add_common(parser, "record")


def main(arguments: argparse.Namespace) -> None:
    fractions = validate_fractions(arguments.fractions)
    labels = read_table(arguments.labels)
    if labels.empty:
        raise UserError(f"{arguments.labels} has no labelled clip")
    truth = labels.set_index("clip_id")["label"]
    labels["label"] = targets.strata(labels["label"], labels["group"], arguments.target)
    if (labels["split"] != "").any():
        split, origin = official(labels, fractions, arguments.seed)
    else:
        split, origin = assign(labels, fractions, arguments.seed), "by group"
    made = sizes(split, fractions)
    if origin == "by group" and (said := off(made)):
        log.warning("%s: %s", arguments.labels.stem, said)
    leakage = shared_groups(labels, split)
    if len(leakage) and not arguments.allow_overlap:
        example = leakage.iloc[0]
        places = " and ".join(name for name in NAMES if example[name])
        raise UserError(
            f"{arguments.labels.stem}: groups in more than one split: {len(leakage)}, first {example['group']!r} in "
            f"{places}; such a test set flatters every model: mend the split, or write "
            "`splits: {allow_overlap: true}` in the config to go on"
        )
    clips = labels.assign(split=split).merge(failures(arguments.study, arguments.stages, labels), on="clip_id")
    # Of a study of whole clips each stage counts.
    needed = [str(form) for _, form in arguments.incomplete] or arguments.stages
    expect_some(arguments.study, needed, labels, arguments.labels.stem)
    incomplete = None
    if arguments.incomplete:
        lacks = lacking(arguments.study, {name: str(form) for name, form in arguments.incomplete}, clips)
        clips, incomplete = keep_incomplete(clips, lacks)
    columns = COLUMNS if incomplete is None else [*COLUMNS, LACKS]
    clips["since"] = ""
    expected = arguments.study / "manifest" / "expected.csv"
    if expected.exists():
        now = frozen_diff.present(arguments.study, sorted(set(clips["shard"])))
        clips["since"] = frozen_diff.changes(clips, read_table(expected), now)
        log.info("%s: %s", arguments.labels.stem, frozen_diff.sentence(clips))
    attrition = clips.groupby(["split", "label", "cause", "stage"]).size().rename("clips").reset_index()
    clips["label"] = clips["clip_id"].map(truth)
    used, lost = clips[clips["cause"] == ""], clips[clips["cause"] != ""]
    lists = {name: used.loc[used["split"] == name, columns] for name in NAMES}
    outputs = lists | {"attrition": attrition, "leakage": leakage, "classes": _counted(used, lost, arguments.target)}
    outputs["sizes"] = made if origin == "by group" else made.assign(asked=float("nan"))
    if incomplete is not None:
        outputs["incomplete"] = incomplete
    outputs["clips"] = clips[[*columns, "split", "cause", "stage", "since"]]
    for name, table in outputs.items():
        files.write_text(arguments.output / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
    metrics = {f"clips_{name}": float(len(table)) for name, table in lists.items()}
    metrics |= {"clips_failed": float(len(lost)), "groups_shared": float(len(leakage))}
    if incomplete is not None:
        metrics |= {f"lacking/{name}": float(part["clips"].sum()) for name, part in incomplete.groupby("modality")}
    metrics |= {f"lost/{cause}": float(count) for cause, count in lost["cause"].value_counts().items()}
    metrics |= {f"since/{change}": float(count) for change, count in clips["since"].value_counts().items() if change}
    log.info("%s: %s, %d clips failed", origin, ", ".join(f"{n} {len(t)}" for n, t in lists.items()), len(lost))
    run = records.Run(
        key={"task": arguments.labels.stem},
        params={"fractions": fractions, "seed": arguments.seed, "origin": origin, "stages": arguments.stages},
        metrics=metrics,
        artifacts=[str(arguments.output / f"{name}.csv") for name in ("classes", "attrition", "leakage", "clips")],
        dataset={
            "name": f"{arguments.study.name}, {arguments.labels.stem}",
            "digest": files.digest([table.to_csv(index=False) for table in lists.values()]),
            "source": str(arguments.output),
            "profile": {f"clips_{name}": len(table) for name, table in lists.items()}
            | {"groups": int(used["group"].nunique()), "classes": int(used["label"].nunique())},
        },
    )
    records.write(arguments.record, "splits", [run])


def _counted(used: pd.DataFrame, lost: pd.DataFrame, target: str) -> pd.DataFrame:
    """label, then clips of it in each split: of classes, of tags, or of all numbers."""
    if target == CLASSES:
        return class_counts(used, lost)
    if target == MULTILABEL:
        return class_counts(targets.by_tag(used), targets.by_tag(lost), "tag")
    return class_counts(used.assign(label=targets.ANY), lost.assign(label=targets.ANY), "task")
