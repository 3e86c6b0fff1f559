"""ablate: what one choice is worth; each variant is a sub-run, and what they share is computed once."""

import json
import time
from collections.abc import Sequence

from ditto_core.evaluation import ablations
from ditto_core.evaluation.drill_down import Contestant
from ditto_core.evaluation.report import judge_label
from ditto_core.evaluation.scores import compare
from ditto_core.ledger import Ledger
from ditto_core.recipe import digest
from ditto_core.settings import ModelSettings, Settings
from flows import measuring, stage
from flows.dataset import assemble
from flows.evaluation import AFTER, seed_and_tuned
from flows.knowledge import collect
from flows.simulation import simulate
from flows.training import train
from tasks import resources, training


@stage.stage_flow("variant")
def run_variant(settings: Settings, trains: bool) -> measuring.Measured:
    """Score one variant: of a tuned model where the variant shapes its dataset, else of the simulating model itself."""
    if trains:
        assemble(settings)
        train(settings)
        folder = training.tuned_model(settings)["folder"]
        model = next(one for one in seed_and_tuned(settings, str(folder)) if one.name == AFTER)
    else:
        model = ModelSettings(name="simulator", generation=settings.generation, system_role=settings.evaluation.system_role)
    tests = measuring.take_tests(settings)
    measured = measuring.measure(settings, tests, [model])
    measuring.account(settings, tests, measured)
    return measured[0]


@stage.stage_flow("ablate")
def ablate(settings: Settings, kind: ablations.Kind = "knowledge") -> stage.StageResult:
    """Vary one choice, "knowledge", "turns" or "contrastive", and score every variant on the same test sessions."""
    started, calls = time.monotonic(), resources.model_calls()
    variants = ablations.variants(settings, kind)
    for step in (collect, simulate, assemble):
        step(settings)
    shown = []
    for name, variant in variants.items():
        measured = run_variant.with_options(flow_run_name=name)(variant, kind != "knowledge")
        one = measuring.contestants(variant, [measured])[0]
        shown.append(Contestant(name, one.scores, one.predictions, one.judgements, one.mt_bench))
    columns, differences = {one.name: one.scores for one in shown}, _differences(settings, shown)
    judge = judge_label(measuring.judge_name(settings))
    plain = settings.shown()
    run = {"settings digest": digest(plain)[:12], "settings": json.dumps(plain, ensure_ascii=False)}
    page = ablations.render(kind, columns, differences, judge, run)
    markdown = ablations.markdown(columns, differences)
    left = measuring.write_files(settings, shown, page, markdown, f"ablation-{kind}")
    ledger = Ledger(inputs=len(shown), ok=len(shown))
    seconds, extra = time.monotonic() - started, left | {"differences": differences}
    return stage.StageResult(f"ablation of {kind}", ledger, resources.model_calls() - calls, seconds, left["report"], extra)


def _differences(settings: Settings, shown: Sequence[Contestant]) -> dict[str, dict[str, dict[str, dict[str, object]]]]:
    bootstrap, seed = settings.evaluation.bootstrap, settings.evaluation.seed
    return {one.name: compare(shown[0].judgements, one.judgements, bootstrap, seed) for one in shown[1:]}
