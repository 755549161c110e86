"""A frozen list against the clips as they are now: which are lost, which came back, which are other files."""

from pathlib import Path

import pandas as pd

from modalens.curation.fingerprints import distance
from modalens.modalities import word_tolerance
from modalens.utils.csv_tables import read_table

SKETCH = "_sketch"


def changes(clips: pd.DataFrame, expected: pd.DataFrame, now: pd.DataFrame) -> pd.Series:
    """clips: clip_id, cause ("" = good). expected, now: clip_id, sha256 and words; expected also its status then.

    Returns for each clip: `same` file; `recoded`, another file that looks and sounds the same; `changed`, another one;
    `lost` since; `found` again; `absent` then and now.
    """
    then = expected.set_index("clip_id").reindex(clips["clip_id"]).fillna("")
    present = now.set_index("clip_id").reindex(clips["clip_id"]).fillna("")
    good_then, good_now = then["status"] == "ok", (clips["cause"] == "").to_numpy()
    result = pd.Series("absent", index=clips.index)
    result[(good_then & ~good_now).to_numpy()] = "lost"
    result[(~good_then & good_now).to_numpy()] = "found"
    for place, both in enumerate(good_then & good_now):
        if both:
            result.iloc[place] = _changed(then.iloc[place], present.iloc[place])
    return result


def _changed(then: pd.Series, now: pd.Series) -> str:
    words = [name for name in map(str, now.index) if name.endswith(SKETCH) and (then.get(name, "") or now[name])]
    # Without a media file there is no digest of one: words tell.
    if then["sha256"] == now["sha256"] and (now["sha256"] or all(then.get(name, "") == now[name] for name in words)):
        return "same"
    alike = all(
        len(then.get(name, "")) == len(now[name])
        and distance(then[name], now[name]) <= word_tolerance(name.removesuffix(SKETCH))
        for name in words
    )
    return "recoded" if words and alike else "changed"


def present(study: Path, shards: list[str]) -> pd.DataFrame:
    """clip_id, sha256 of the file, and the words of those that decoded."""
    files = pd.concat([read_table(study / "clips" / f"{shard}.csv")[["clip_id", "sha256"]] for shard in shards])
    words = pd.concat([read_table(study / "fingerprints" / f"{shard}.csv") for shard in shards])
    words = words[["clip_id", *(name for name in map(str, words) if name.endswith(SKETCH))]]
    return files.merge(words, on="clip_id", how="left").fillna("")


def sentence(clips: pd.DataFrame) -> str:
    """clips: cause, since. What became of the good ones, in one line."""
    count = clips["since"].value_counts()
    lost = clips.loc[clips["since"] == "lost", "cause"].value_counts()
    why = f" ({', '.join(f'{number} {cause}' for cause, number in sorted(lost.items()))})" if len(lost) else ""
    then = sum(int(count.get(name, 0)) for name in ("same", "recoded", "changed", "lost"))
    return (
        f"since it was frozen, {count.get('lost', 0)} of {then} clips are lost{why}, {count.get('found', 0)} came "
        f"back, {count.get('recoded', 0)} are coded anew, {count.get('changed', 0)} are another content"
    )
