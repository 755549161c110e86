# The flow, in order. Each rule calls one module of src/modalens; `all` is the report and its runs in MLflow.
from snakemake.utils import min_version

min_version("9.0")


include: "workflow/rules/common.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/media.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/hygiene.smk"
include: "workflow/rules/learning.smk"
include: "workflow/rules/comparison.smk"
include: "workflow/rules/results.smk"


rule all:
    """The report, and the runs of all stages in MLflow."""
    default_target: True
    input:
        f"{R}/report/index.html",
        f"{R}/report/answer.txt",
        f"{R}/track/synced.json",
        # Snakemake looks for what it is asked for: a table that somebody deleted is made again.
        MEASURE_TABLES,
    localrule: True


onsuccess:
    TERMINAL.end()
    # The answer, last. A call that names its targets may have none.
    answer = Path(f"{R}/report/answer.txt")
    if TERMINAL.run.stages.get("track") and TERMINAL.answers and answer.exists():
        print(answer.read_text(encoding="utf-8"), end="", flush=True)
    if TERMINAL.answers and (again := TERMINAL.run.call_again(TERMINAL.trainings)):
        print(again, flush=True)


onerror:
    # What the stages said, once more and last: Snakemake's own account of a failure fills screens.
    TERMINAL.end()
    print(*TERMINAL.account(log), sep="\n", file=sys.stderr)
