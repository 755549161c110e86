"""The check of a table of predictions, whose columns stats.prediction_columns states: what it leaves out is written in,
and what breaks the contract is one line.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from modalens.stats.coalitions import to_text
from modalens.stats.metrics import RANK, rank_of_truth
from modalens.stats.prediction_columns import (
    CLASS,
    KEY,
    NO_REPLACEMENT_NAMED,
    OFF_ONE,
    ORDER,
    OVER_ZERO,
    PRIOR_PREDICTED,
    TEXT,
    WHERE,
)
from modalens.stats.targets import CLASSES, LARGEST, MULTILABEL, REGRESSION, TARGETS, lost_spread
from modalens.utils.errors import UserError
from modalens.utils.suggest import nearest
from modalens.utils.words import half_letter


def validate(*frames: pd.DataFrame) -> pd.DataFrame:
    """One table of all frames, with what they left out written in. Raises UserError, one line, where the contract is
    broken; rows in messages count from 0, as in frame.iloc.
    """
    tables = [_columns(frame) for frame in frames]
    table = tables[0] if len(tables) == 1 else pd.concat(tables, ignore_index=True)
    table["replacement"] = _replacements(table)
    _check_target(table)
    _check_same_for_each_clip(table)
    _check_conditions(table)
    classes = [name for name in table.columns if name.startswith(CLASS)]
    return table[[*ORDER, *classes, *(name for name in table.columns if name not in {*ORDER, *classes})]]


def _columns(frame: pd.DataFrame) -> pd.DataFrame:
    """Each column checked and made by itself, but for `replacement` where there is none."""
    table = frame.reset_index(drop=True).rename(columns=str)
    for name in table.columns:
        if half_letter(name):
            raise UserError(f"{WHERE}: expected names of columns that UTF-8 can hold, got {name!r}")
    classes = [name for name in table.columns if name.startswith(CLASS)]
    _require(table, bool(classes))
    if table.empty:
        raise UserError(f"{WHERE}: the table has no row")
    for name, value in (("model", "model"), ("group", table["clip_id"]), ("seed", 0)):
        if name not in table:
            table[name] = value
    for name in TEXT:
        if name in table:
            table[name] = _text(table, name)
    table["seed"] = _seeds(table)
    table["coalition"] = _sorted_names(table["coalition"])
    if classes:
        _fill_from_probabilities(table, classes)
    table["log_probability"] = _log_probabilities(table)
    if RANK in table:
        table[RANK] = _ranks(table)
        if "target" not in table or (table["target"] == CLASSES).all():
            _check_ranks(table, classes)
    return table


def _require(table: pd.DataFrame, has_classes: bool) -> None:
    needed = ["clip_id", "coalition", "label", *([] if has_classes else ["predicted"])]
    for name in needed:
        if name not in table:
            near = nearest(name, table.columns, str.lower)
            listed = ", ".join(table.columns[:20]) + (" …" if len(table.columns) > 20 else "")
            raise UserError(f"{WHERE}: column {name!r} is missing{near and f' ({near})'}; columns: {listed or 'none'}")


def _text(table: pd.DataFrame, name: str) -> pd.Series:
    column = table[name]
    empty = column.isna().to_numpy()
    # Of tags too an empty cell is a value.
    tags = name in ("label", "predicted") and "target" in table and (table["target"] == MULTILABEL).all()
    if tags or name in ("replacement", "coalition"):
        # Readers of CSV take an empty cell, here "no modality", for not-a-number.
        column = column.astype(object).where(~empty, "")
    elif empty.any():
        raise _wrong(table, name, "a value in every row", empty)
    # Beyond 2**53 a float is no number of a class, and beyond 2**63 it would become another one.
    if pd.api.types.is_float_dtype(column) and (column.abs() < 2**53).all() and (column == column.round()).all():
        column = column.astype(np.int64)  # 1.0 in one column and 1 in another are the same class
    try:
        text = column.astype(str)
    except UnicodeEncodeError as error:
        halves = np.array([bool(half_letter(str(cell))) for cell in column])
        raise _wrong(table, name, "text that UTF-8 can hold", halves) from error
    if name in ("model", "clip_id") and (text == "").any():
        raise _wrong(table, name, "a name", (text == "").to_numpy())
    return text


def _seeds(table: pd.DataFrame) -> pd.Series:
    seeds = pd.to_numeric(table["seed"], errors="coerce")
    # Beyond 2**63 it would become another one.
    bad = (seeds.isna() | (seeds % 1 != 0) | (seeds.abs() >= 2**63)).to_numpy()
    if bad.any():
        raise _wrong(table, "seed", "whole numbers below 2**63", bad)
    return seeds.astype(np.int64)


def _sorted_names(coalition: pd.Series) -> pd.Series:
    codes, texts = pd.factorize(coalition)
    names = [to_text({name.strip() for name in text.split(",")} - {""}) for text in texts]
    return pd.Series(np.array(names, dtype=object)[codes], index=coalition.index).astype(str)


def _replacements(table: pd.DataFrame) -> pd.Series:
    """Checked, or made; the coalition of all modalities of a model is the one that replaces nothing."""
    whole = pd.Series(False, index=table.index)
    for model, part in table.groupby("model"):
        names = sorted({name for text in part["coalition"].unique() for name in text.split(",")} - {""})
        full = part["coalition"] == to_text(names)
        if not names or not full.any():
            expected = repr(to_text(names)) if names else "the names of the modalities"
            raise UserError(
                f"{WHERE}: coalition: model {model!r} has no row with all its modalities: expected {expected} among "
                f"{', '.join(repr(text) for text in sorted(part['coalition'].unique()))}"
            )
        whole[full.index] = full
    made = pd.Series(np.where(whole, "", NO_REPLACEMENT_NAMED), index=table.index).astype(str)
    if "replacement" not in table:
        return made
    given = table["replacement"]
    wrong = (whole & given.notna() & (given != "")).to_numpy()
    if wrong.any():
        raise _wrong(table, "replacement", "'' where the coalition holds all modalities", wrong)
    if (wrong := (~whole & (given == "")).to_numpy()).any():
        raise _wrong(table, "replacement", "a name where modalities are withheld", wrong)
    return given.where(given.notna(), made)


def _fill_from_probabilities(table: pd.DataFrame, classes: list[str]) -> None:
    """Check p_<class>; write `predicted` and `log_probability` where the table has none."""
    # Of several models in one table, one may have given no probabilities; it has named its classes then.
    given = table[classes].notna().any(axis=1).to_numpy() | ("predicted" not in table)
    for name in classes:
        column = pd.to_numeric(table[name], errors="coerce")
        outside = ~((column >= -OVER_ZERO) & (column <= 1 + OVER_ZERO)).to_numpy() & given
        if outside.any():
            raise _wrong(table, name, "numbers from 0 to 1", outside)
        table[name] = column
    values: NDArray[np.float64] = np.asarray(table[classes], np.float64)
    if (bad := np.abs(values.sum(1) - 1) > OFF_ONE).any():
        row = int(bad.argmax())
        raise UserError(f"{WHERE}: p_<class>: expected a sum of 1, got {values[row].sum():.4g} ({_at(table, row)})")
    names = pd.Index([name.removeprefix(CLASS) for name in classes])
    truth = np.asarray(names.get_indexer(pd.Index(table["label"])))
    if (bad := (truth < 0) & given).any():
        row = int(bad.argmax())
        label = table["label"].iloc[row]
        raise UserError(f"{WHERE}: no column '{CLASS}{label}' for the label {label!r} ({_at(table, row)})")
    of_truth = values[np.arange(len(values)), truth].clip(0, 1)
    if "predicted" not in table:
        table["predicted"] = pd.Series(names.to_numpy()[values.argmax(1)], index=table.index).astype(str)
    if RANK not in table:
        table[RANK] = np.where(given, rank_of_truth(*_named_first(table, classes)), np.nan)
    if "log_probability" not in table:
        with np.errstate(divide="ignore"):  # a probability of 0 is minus infinity, as it is
            table["log_probability"] = np.log(of_truth)
    elif (bad := np.abs(np.exp(_log_probabilities(table).to_numpy()) - of_truth) > OFF_ONE).any():
        row = int(bad.argmax())
        expected = f"the logarithm of {CLASS}{table['label'].iloc[row]} ({of_truth[row]:.4g})"
        raise _wrong(table, "log_probability", expected, bad)


def _named_first(table: pd.DataFrame, classes: list[str]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """p_<class> (N, C + 1) and the true class (N,). The class that is predicted, whatever it was chosen by, is above
    all others, so that accuracy is the share of first places; the last column is for one that has no p_<class>."""
    values = np.column_stack([np.asarray(table[classes], np.float64), np.full(len(table), -1.0)])
    of_label, of_predicted = (
        pd.Index(classes).get_indexer(pd.Index(CLASS + table[name])) for name in ("label", "predicted")
    )
    values[np.arange(len(values)), of_predicted] = 2
    return values, np.asarray(of_label, np.int64)


def _ranks(table: pd.DataFrame) -> pd.Series:
    """Not-a-number throughout for a model that ranks no classes."""
    ranks = pd.to_numeric(table[RANK], errors="coerce").astype(np.float64)
    silent = table[RANK].isna().groupby(table["model"]).transform("all")
    bad = ~(((ranks >= 1) & (ranks % 1 == 0)) | silent).to_numpy()
    if bad.any():
        raise _wrong(table, RANK, "whole numbers from 1 on", bad)
    return ranks if silent.any() else ranks.astype(np.int16)


def _check_ranks(table: pd.DataFrame, classes: list[str]) -> None:
    """Against `predicted`, and against p_<class> as exactly as these may have been rounded."""
    ranks = table[RANK].to_numpy(np.float64)
    told, right = ~np.isnan(ranks), (table["label"] == table["predicted"]).to_numpy()
    if (bad := told & right & (ranks != 1)).any():
        raise _wrong(table, RANK, "1 where the class that is predicted is the true one", bad)
    if (bad := told & ~right & (ranks == 1)).any():
        raise _wrong(table, RANK, "2 or more where another class than the true one is predicted", bad)
    if not classes:
        return
    told &= table[classes].notna().any(axis=1).to_numpy()
    values, truth = _named_first(table, classes)
    own = np.take_along_axis(values, truth[:, None], axis=1)
    first, last = 1 + (values > own + OFF_ONE).sum(axis=1), (values >= own - OFF_ONE).sum(axis=1)
    if (bad := told & ((ranks < first) | (ranks > last))).any():
        row = int(bad.argmax())
        expected = f"{first[row]}" if first[row] == last[row] else f"{first[row]} to {last[row]}"
        raise _wrong(table, RANK, f"{expected} by p_<class>", bad)


def _log_probabilities(table: pd.DataFrame) -> pd.Series:
    """Not-a-number throughout for a model of bare decisions."""
    if "log_probability" not in table:
        return pd.Series(np.nan, index=table.index)
    values = pd.to_numeric(table["log_probability"], errors="coerce").astype(np.float64)
    decisions = table["log_probability"].isna().groupby(table["model"]).transform("all")
    bad = ~((values <= OVER_ZERO) | decisions).to_numpy()
    if bad.any():
        raise _wrong(table, "log_probability", "numbers <= 0", bad)
    return values.clip(upper=0)


def _check_target(table: pd.DataFrame) -> None:
    if "target" not in table:
        return
    kinds = sorted({str(kind) for kind in table["target"].unique()})
    if len(kinds) > 1 or kinds[0] not in TARGETS:
        raise UserError(f"{WHERE}: target: expected one of {', '.join(TARGETS)} in every row, got {', '.join(kinds)}")
    if kinds[0] == REGRESSION:
        for name in ("label", "predicted", *([PRIOR_PREDICTED] if PRIOR_PREDICTED in table else [])):
            wrong = ~np.isfinite(pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64))
            if wrong.any():
                raise _wrong(table, name, "a finite number", wrong)
            large = np.abs(table[name].to_numpy(np.float64)) > LARGEST
            if large.any():
                raise _wrong(
                    table, name, f"a number from -{LARGEST:g} to {LARGEST:g} (squares of larger ones overflow)", large
                )
        if why := lost_spread(table["label"].to_numpy(np.float64)):
            raise UserError(f"{WHERE}: label: {why}")


def _check_same_for_each_clip(table: pd.DataFrame) -> None:
    first = table.drop_duplicates("clip_id").set_index("clip_id")
    for name in ("label", "group"):
        expected = table["clip_id"].map(first[name])
        if (bad := (table[name] != expected).to_numpy()).any():
            raise _wrong(table, name, f"{expected.iloc[int(bad.argmax())]!r} as in the clip's other rows", bad)


def _check_conditions(table: pd.DataFrame) -> None:
    again = table.duplicated(KEY).to_numpy()
    if again.any():
        row = int(again.argmax())
        same = (table[KEY] == table[KEY].iloc[row]).all(axis=1).to_numpy()
        where = _condition(table.iloc[row])
        raise UserError(
            f"{WHERE}: clip {table['clip_id'].iloc[row]!r} has more than one row with {where} "
            f"(rows {int(same.argmax())} and {row})"
        )
    for _, part in table.groupby("model", sort=False):
        pairs = pd.MultiIndex.from_product([part["clip_id"].unique(), part["seed"].unique()])
        for _, rows in part.groupby(["replacement", "coalition"], sort=False):
            if len(rows) < len(pairs):
                clip, seed = pairs.difference(pd.MultiIndex.from_frame(rows[["clip_id", "seed"]]))[0]
                where = _condition(rows.iloc[0], seed)
                raise UserError(f"{WHERE}: clip {clip!r} has no row with {where}; each condition holds every clip")


def _condition(row: pd.Series, seed: Any = None) -> str:
    words = f"model {row['model']!r}, seed {row['seed'] if seed is None else seed}, coalition {row['coalition']!r}"
    return words + (f", replacement {row['replacement']!r}" if row["replacement"] else "")


def _wrong(table: pd.DataFrame, name: str, expected: str, bad: NDArray[np.bool_]) -> UserError:
    row = int(bad.argmax())
    got = table[name].iloc[row]
    shown = repr(got) if isinstance(got, str) else "nothing" if pd.isna(got) else f"{got}"
    return UserError(f"{WHERE}: {name}: expected {expected}, got {shown} ({_at(table, row)})")


def _at(table: pd.DataFrame, row: int) -> str:
    return f"clip {str(table['clip_id'].iloc[row])!r}, row {row}"
