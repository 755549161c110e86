"""What a paper would say of how the numbers were made: a paragraph and the BibTeX of what it cites."""

from modalens import __version__
from modalens.reporting.study_results import Study
from modalens.utils.words import counted

BIBTEX = {
    "modalens": """@software{modalens,
  title = {modalens: how much does each modality matter to a multimodal model?},
  author = {{The modalens authors}},
  version = {VERSION}
}""",
    "geraghty2023": """@inproceedings{geraghty2023,
  title = {Understanding the Relevancy of Modality Information in Multimodal Machine Learning},
  author = {Geraghty, Jack and Hines, Andrew and Golpayegani, Fatemeh},
  booktitle = {Proceedings of the Fourteenth International Workshop Modelling and Representing Context (MRC 2023)},
  year = {2023}
}""",
    "shapley1953": """@incollection{shapley1953,
  title = {A Value for n-Person Games},
  author = {Shapley, Lloyd S.},
  booktitle = {Contributions to the Theory of Games, Volume II},
  publisher = {Princeton University Press},
  year = {1953}
}""",
    "grabisch1999": """@article{grabisch1999,
  title = {An Axiomatic Approach to the Concept of Interaction among Players in Cooperative Games},
  author = {Grabisch, Michel and Roubens, Marc},
  journal = {International Journal of Game Theory},
  volume = {28},
  year = {1999}
}""",
    "holm1979": """@article{holm1979,
  title = {A Simple Sequentially Rejective Multiple Test Procedure},
  author = {Holm, Sture},
  journal = {Scandinavian Journal of Statistics},
  volume = {6},
  year = {1979}
}""",
}  # fmt: skip


def methods(study: Study, trained: bool) -> tuple[str, str]:
    """(paragraph, BibTeX), of what this study did and measured. trained: here, so that the config tells how."""
    cited = ["modalens"]
    scored = {task: models[study.headline(task)] for task, models in study.scores.items()}
    seeds = {one.seeds for one in scored.values()}
    sizes = ", ".join(
        f"{counted(one.clips, 'clip')} of {counted(one.groups, 'group')} ({task})" for task, one in scored.items()
    )
    models = ", ".join(study.models)
    said = [f"Relevance of modalities was measured with modalens {__version__} [modalens] on the test clips: {sizes}."]
    if trained:
        encoders = [
            f"{name} by {entry['encoder']}" for name, entry in sorted((study.config.get("modalities") or {}).items())
        ]
        said.append(f"Features were computed of {', '.join(encoders)}." if encoders else "")
        share = study.config.get("splits") or {}
        if isinstance(share.get("train"), float | int):
            parts = "/".join(f"{share.get(name, 0):g}" for name in ("train", "validation", "test"))
            said.append(f"Clips were split {parts} into training, validation and test; no group is in two of them.")
    said.append(f"Models ({models}) were trained from {_span(seeds)} seeds each." if max(seeds) > 1 else "")
    if not study.measure("leave_one_out").empty:
        said.append(
            "Each modality was withheld from the trained models [geraghty2023]"
            + (f"; the findings are of {study.replacement}." if study.replacement else ".")
        )
        cited.append("geraghty2023")
    if not study.measure("shapley").empty:
        said.append("Shapley values are exact over all sets of modalities [shapley1953].")
        cited.append("shapley1953")
    if not study.measure("interaction").empty:
        said.append("Interaction is the Shapley interaction index [grabisch1999].")
        cited.append("grabisch1999")
    confidence = (study.config.get("relevance") or {}).get("confidence", 0.95)
    said.append(
        f"Intervals ({100 * confidence:.0f} %) are over test groups and seeds drawn together; "
        "p-values were corrected by Holm's method [holm1979]."
    )
    cited.append("holm1979")
    return " ".join(filter(None, said)), "\n\n".join(BIBTEX[key].replace("VERSION", __version__) for key in cited)


def _span(counts: set[int]) -> str:
    return str(min(counts)) if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
