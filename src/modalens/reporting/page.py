"""A study folder -> one HTML page that opens anywhere; beside it its tables as CSV, its charts as SVG and PNG."""

import json
import math
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from modalens.reporting import attrition, comparison, embeddings, published
from modalens.reporting.appearance import colors
from modalens.reporting.caveats import caveats
from modalens.reporting.drawings import drawings, of
from modalens.reporting.evidence import evidence, look, tables_of_clips
from modalens.reporting.known_answers import known
from modalens.reporting.methods import methods
from modalens.reporting.others import chart
from modalens.reporting.paper_tables import per_class, results
from modalens.reporting.provenance import provenance
from modalens.reporting.rendering import RenderedChart, bundle, script_safe
from modalens.reporting.study_results import Study, weights
from modalens.reporting.summary import Finding, find
from modalens.stats.targets import in_words

TEMPLATES = Path(__file__).parent / "templates"
SHOWN_PAIRS = 30  # all are in the table beside the page


def number(value: Any, digits: int = 2, sign: bool = False) -> str:
    """A number as the page shows it: a real minus sign, a dash for not-a-number."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    text = f"{value:+,.{digits}f}" if sign else f"{value:,.{digits}f}"
    # Not "-0.00".
    return text.lstrip("-+") if float(text.replace(",", "")) == 0 else text.replace("-", "−")


def percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{number(100 * value, 0)} %"


def begun(text: str) -> str:
    """As a sentence begins; names keep their letters."""
    return text[:1].upper() + text[1:]


def probability(value: float) -> str:
    return "–" if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def scales(findings: list[Finding], known_values: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """What is divided -> ends of the axis that its Shapley bars share in the answer: nats are no points."""
    return {
        payoff: _scale([one for one in findings if one.payoff == payoff], known_values)
        for payoff in {finding.payoff for finding in findings}
    }


def _scale(findings: list[Finding], known_values: dict[str, Any]) -> tuple[float, float]:
    rows = [row for finding in findings for part in finding.parts for row in (part.used, part.available) if row]
    ends = [row[key] for row in rows for key in ("low", "high", "value") if not math.isnan(row[key])]
    answers = [known_values.get(finding.task, {}) for finding in findings]
    ends += [value for answer in answers for value in answer.get("shapley_accuracy", {}).values()]
    return min([0.0, *ends]), max([0.01, *ends])


def broken(name: str) -> Markup:
    """A name that a narrow column may break after an underscore."""
    return Markup("_<wbr>").join(name.split("_"))


def embedded(value: Any) -> Markup:
    """JSON in a <script>."""
    return Markup(script_safe(json.dumps(value, ensure_ascii=False, separators=(",", ":"))))


def tables_of(study: Study, findings: list[Finding]) -> tuple[dict[str, pd.DataFrame], str]:
    """Every table of the page, and how the clips were mapped."""
    tables = {"results": results(study), "per_class": per_class(study), "attrition": study.attrition()}
    tables |= {name: study.measure(name) for name in ("leave_one_out", "shapley")}
    tables |= {"known": known(study, findings), "decoding": study.decoding()}
    tables |= {"lost": attrition.by_cause(tables["attrition"]), "since": attrition.since(study)}
    tables |= {"incomplete": attrition.incomplete(study)}
    tables |= {"shared": attrition.shared(study), "duplicates": attrition.pairs(study)}
    tables |= {"leaderboard": comparison.boards(study), "trials": comparison.trials(study)}
    tables |= {
        "ranks": comparison.ranks(tables["leaderboard"]),
        "published": published.beside(study, tables["results"]),
    }
    tables |= tables_of_clips(study)
    maps, method = [], ""
    mapped: embeddings.Maps = {}
    for task in study.tasks:
        own = of(tables["clips"], task)
        labels = dict(zip(own["clip_id"], own["label"], strict=True)) if len(own) else {}
        table, said = embeddings.maps(study, task, labels, mapped)
        maps.append(table.assign(task=task))
        method = said or method
    tables["embeddings"] = pd.concat(maps, ignore_index=True)
    return tables, method


def environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    made.filters |= {
        "number": number,
        "in_words": in_words,
        "percent": percent,
        "begun": begun,
        "probability": probability,
        "embedded": embedded,
        "broken": broken,
    }
    # Ours, not the study's: written into the page as they are.
    made.globals |= {"asset": lambda name: Markup((TEMPLATES / name).read_text(encoding="utf-8"))}
    return made


def page(
    study: Study, config_text: str, beside: bool = True
) -> tuple[str, dict[str, pd.DataFrame], dict[str, RenderedChart], list[Finding]]:
    """HTML, its tables and charts by name, its findings. beside: tables and figures will lie beside the page, and the
    study had clips to lose; else the page stands alone and speaks of predictions only."""
    script = bundle()
    findings = [find(study, task) for task in study.tasks]
    answers = study.answers()
    tables, method = tables_of(study, findings)
    previews = look(study, tables["clips"])
    shown = {task: evidence(study, task, tables, previews) for task in study.tasks}
    made = drawings(study, tables, answers)
    for task, parts in shown.items():
        drawn = {f"{task}-{part['name']}": chart(study, task, part["name"]) for part in parts["others"]}
        made |= {name: drawing for name, drawing in drawn.items() if drawing is not None}
    choices = comparison.choices(tables["trials"])
    encoders = weights(study)
    modalities = sorted({part.modality for finding in findings for part in finding.parts})
    lost = tables["attrition"]
    paragraph, bibtex = methods(study, trained=beside)
    html = environment().get_template("report.html.j2").render(
        title=study.settings.get("title") or study.root.name,
        study=study,
        findings=findings,
        answers=answers,
        scales=scales(findings, answers),
        colours=colors(modalities),
        modalities=modalities,
        caveats=caveats(study, encoders),
        evidence=shown,
        mapped_by=method,
        figures={name: Markup(drawing.element()) for name, drawing in made.items()},
        bundle=Markup(script.result()),
        known=tables["known"].to_dict("records"),
        boards={task: of(tables["leaderboard"], task).to_dict("records") for task in study.tasks},
        ranks=tables["ranks"].to_dict("records"),
        choices=choices,
        compared=comparison.sentences(study, tables["leaderboard"], choices) if len(tables["leaderboard"]) else [],
        lost=lost[lost["cause"] != ""].to_dict("records") if len(lost) else [],
        attrition_known=len(lost) > 0,
        attrition=tables["lost"].to_dict("records"),
        uneven=attrition.uneven(lost),
        untold=attrition.untold(lost),
        incomplete=tables["incomplete"].to_dict("records"),
        since=tables["since"].to_dict("records"),
        shared=tables["shared"].to_dict("records"),
        pairs=tables["duplicates"].head(SHOWN_PAIRS).to_dict("records"),
        decoding=tables["decoding"].to_dict("records"),
        weights=encoders,
        provenance=provenance(),
        methods=paragraph,
        bibtex=bibtex,
        config=config_text,
        tables=sorted(name for name, table in tables.items() if len(table)) if beside else [],
        beside=beside,
        confidence=(study.config.get("relevance") or {}).get("confidence", 0.95),
    )  # fmt: skip
    return html, tables, made, findings
