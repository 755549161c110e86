"""What the page shows of one task below the answer: tables -> rows and cells of its sections."""

from typing import Any

import pandas as pd

from modalens.reporting import charts, clips, confusions, others, patches
from modalens.reporting.drawings import DRAWN, DRAWN_CLASSES, of
from modalens.reporting.model_scores import ModelScores
from modalens.reporting.paper_tables import METRIC_NAMES, stand_ins
from modalens.reporting.previews import Previews, links
from modalens.reporting.study_results import Study
from modalens.stats.targets import CLASSES, TARGETS
from modalens.utils.csv_tables import neutral
from modalens.utils.words import counted

CARDS = 12  # clips with pictures
OPEN = 4  # models whose tables are open; those of more are a click away
# Rows that all tasks together may carry in the page; every clip is in the table beside it.
LISTED_CLIPS = 8000


def evidence(study: Study, task: str, tables: dict[str, pd.DataFrame], previews: Previews) -> dict[str, Any]:
    """Of numbers or tags without the sections that are of classes or of single clips."""
    drops, values = (of(tables[name], task) for name in ("leave_one_out", "shapley"))
    main = TARGETS[study.target(task)].metrics[0]
    measured = {
        "drops": drops[drops["metric"] == study.metric(task)].to_dict("records") if len(drops) else [],
        "values": values[values["value_function"] == main].to_dict("records") if len(values) else [],
        "others": others.sections(study, task),
        "patches": {name: patches.drawn(study, task, name, previews) for name in patches.MEASURES},
    }
    if study.target(task) != CLASSES:
        scored = study.scores[task][study.headline(task)]
        return {"other_target": True, "size": _size(scored)} | measured
    rows = of(tables["results"], task)
    shown = [name for name in METRIC_NAMES if (rows["metric"] == name).any()] if len(rows) else []
    first = study.headline(task)
    published = {}
    for model in sorted(dict.fromkeys(rows["model"]), key=lambda name: name != first):
        part = rows[rows["model"] == model]
        cells = part.set_index(["row", "metric"])[["mean", "std"]]
        names = list(dict.fromkeys(part["row"]))
        published[str(model)] = [(name, [tuple(cells.loc[(name, key)]) for key in shown]) for name in names]
    scored = study.scores[task][first]
    cells, by_clip = of(tables["confusion"], task), of(tables["clips"], task)
    worst = confusions.worst(cells)
    return {
        "published": published,
        "stand_ins": _stand_ins(scored, study.replacement),
        "open": OPEN if len(published) > OPEN + 1 else len(published),
        "metric_names": [METRIC_NAMES[name] for name in shown],
        "undrawn": max(0, len(study.multimodal(task) or study.scores[task]) - DRAWN),
        "size": f"{_size(scored)}, {counted(len(scored.classes), 'class', 'classes')}",
        "classes": class_table(of(tables["per_class"], task), first),
        "undrawn_classes": max(0, len(scored.classes) - DRAWN_CLASSES),
        "uncolored": max(0, len(scored.classes) - len(charts.CLASSES)),
        "confusions": {"columns": list(worst), "rows": worst.to_numpy().tolist()},
        "matrix_classes": len(confusions.most_confused(cells)),
        "outcomes": of(tables["outcomes"], task).to_dict("records"),
        "cards": cards(study, by_clip, cards_of(by_clip), previews),
        "clips": listing(by_clip, max(100, LISTED_CLIPS // len(study.tasks)), verdicts(study, task)),
        "judged": scored.modalities[0] if verdicts(study, task) else "",
        "changed": int((by_clip.groupby("clip_id")["changed"].max() >= 0.5).sum()) if len(by_clip) else 0,
        "literature": of(tables["published"], task).to_dict("records"),
    } | measured


def _stand_ins(scored: ModelScores, reported: str) -> str:
    """What stands in for a missing modality in the seed paper's tables, where it is not what the answer is told by."""
    shown = stand_ins(scored, reported)
    return "" if reported in shown else f" ({' and '.join(shown)}; the answer above is told by {reported})"


def _size(scored: ModelScores) -> str:
    return f"{counted(scored.clips, 'test clip')} of {counted(scored.groups, 'group')}"


def class_table(per_class: pd.DataFrame, model: str) -> dict[str, Any]:
    """cases: (case, modality); rows: (label, clips, [(mean, std) of each case or None])."""
    own = per_class[per_class["model"] == model]
    cases = list(dict.fromkeys(zip(own["case"], own["modality"], strict=True)))
    cells = {
        key: (mean, std)
        for *key_, mean, std in own[["case", "modality", "label", "mean", "std"]].itertuples(index=False)
        for key in [tuple(key_)]
    }
    sizes = own.drop_duplicates("label")[["label", "clips"]].itertuples(index=False)
    return {
        "cases": cases,
        "rows": [(label, clips, [cells.get((*case, label)) for case in cases]) for label, clips in sizes],
    }


def cards_of(by_clip: pd.DataFrame) -> list[str]:
    """The clips to look at: right by most seeds, and named otherwise by most when a modality was withheld."""
    if by_clip.empty:
        return []
    hit = by_clip[(by_clip["changed"] >= 0.5) & (by_clip["right"] >= 0.5)]
    # A few of each modality, so that one does not crowd out the others.
    ranks = hit.groupby("modality").cumcount()
    return list(dict.fromkeys(hit.assign(rank=ranks).sort_values("rank", kind="stable")["clip_id"]))[:CARDS]


def look(study: Study, by_clip: pd.DataFrame) -> Previews:
    """Of all clips that the page shows, read once."""
    chosen = [clip_id for task in study.tasks for clip_id in cards_of(of(by_clip, task))]
    return Previews(study, chosen, patches.clips_of(study))


def cards(study: Study, by_clip: pd.DataFrame, chosen: list[str], previews: Previews) -> list[dict[str, Any]]:
    shown, files = previews.parts, links(study, chosen)
    made = []
    for clip_id in chosen:
        rows = by_clip[by_clip["clip_id"] == clip_id].to_dict("records")
        card = {"clip_id": clip_id, "link": files.get(clip_id, ""), "shown": shown.get(clip_id, {}), "rows": rows}
        made.append(card | {"label": rows[0]["label"], "predicted": rows[0]["predicted"], "right": rows[0]["right"]})
    return made


def verdicts(study: Study, task: str) -> dict[tuple[str, str], str]:
    """(clip, modality) -> `needed`, `harmful` or `cannot tell`, of the headline model; {} without that measure."""
    table = of(study.measure("sample_relevance"), task)
    if table.empty:
        return {}
    table = table[(table["model"] == study.headline(task)) & (table["replacement"] == study.replacement)]
    return dict(zip(zip(table["clip_id"], table["modality"], strict=True), table["verdict"], strict=True))


def listing(
    by_clip: pd.DataFrame, limit: int, verdicts: dict[tuple[str, str], str] | None = None
) -> dict[str, Any] | None:
    """columns and rows of the list of single clips, those that change most first; left_out: how many more there are."""
    if by_clip.empty:
        return None
    names = list(dict.fromkeys(sorted(by_clip["modality"])))
    clips_there = list(dict.fromkeys(by_clip["clip_id"]))
    first = by_clip.drop_duplicates("clip_id").set_index("clip_id")
    parts = {name: by_clip[by_clip["modality"] == name].set_index("clip_id") for name in names}
    columns = ["clip", "class", "predicted", "right, %"]
    rows = [
        [clip_id, row["label"], row["predicted"], round(100 * row["right"])]
        for clip_id, row in first.loc[clips_there[:limit]].iterrows()
    ]
    for name in names:
        columns += [f"without {name}", f"changed without {name}, %", f"drop without {name}, nats"]
        part = parts[name].loc[clips_there[:limit]]
        for row, without, changed, drop in zip(rows, part["without"], part["changed"], part["drop"], strict=True):
            row += [without, round(100 * changed), f"{float(drop) + 0.0:.2f}".replace("-0.00", "0.00")]
        if verdicts:
            columns.append(f"{name} is")
            for row in rows:
                # With the modality's name: one filter is for all columns.
                row.append(f"{name} {verdicts.get((neutral(row[0]), name), '')}")
    numbers = [index for index, column in enumerate(columns) if column.endswith(("%", "nats"))]
    return {"columns": columns, "rows": rows, "numbers": numbers, "left_out": max(0, len(clips_there) - limit)}


def tables_of_clips(study: Study) -> dict[str, pd.DataFrame]:
    """clips, outcomes, confusion: of the headline model of each task, read once."""
    made: dict[str, list[pd.DataFrame]] = {"clips": [], "outcomes": [], "confusion": []}
    for task in study.tasks:
        if study.target(task) != CLASSES:
            continue
        pairs = clips.pairs(study, task)
        parts = {"clips": clips.by_clip(pairs), "outcomes": clips.by_outcome(pairs)}
        parts |= {"confusion": confusions.matrices(study, task)}
        for name, table in parts.items():
            if len(table):
                made[name].append(table.assign(task=task, model=study.headline(task)))
    return {name: pd.concat(parts, ignore_index=True) if parts else pd.DataFrame() for name, parts in made.items()}
