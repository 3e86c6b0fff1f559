"""What shapes each stage's output, as digests; each holds those before it, so a change reaches everything downstream.

A knob that only changes speed is left out here, once for all.
"""

from ditto_core import languages
from ditto_core.recipe import ModelIdentity, stage_recipe
from ditto_core.settings import Settings
from tasks import resources, toxicity

_SPEED = {"batch_size", "timeout_s", "contact", "snapshot", "offline", "article_limit_s"}
_PROMPTS = {
    "simulation": ("query_simulation", "response_simulation"),
    "evaluation": ("judge_identity", "judge_knowledge", "judge_rejection"),
}


def knowledge_recipe(settings: Settings) -> str:
    """Of characters, pages and profiles."""
    return stage_recipe("knowledge", settings.knowledge.model_dump(exclude=_SPEED), settings.shards)


def simulation_recipe(settings: Settings) -> str:
    """Of dialogues; holds the identity of the seed LLM."""
    return stage_recipe(
        "simulation",
        settings.simulation.model_dump(),
        knowledge_recipe(settings),
        resources.identify(settings.generation),
        settings.generation.max_model_len,
        _wordings(settings, "simulation"),
    )


def dataset_recipe(settings: Settings) -> str:
    """Of examples and the published folder."""
    spoken = [languages.load(code) for code in settings.knowledge.languages]
    wording = [[language.scripts, language.words_apart, language.cues] for language in spoken]
    judge: list[object] = []
    if settings.dataset.refusals == "judge":
        asked = [language.prompts["judge_rejection"] for language in spoken]
        judge = [resources.identify(settings.evaluation.judge_generation), settings.evaluation.max_judge_tokens, asked]
    check = toxicity.identify(settings.dataset.toxicity) if settings.dataset.toxicity else ""
    return stage_recipe("dataset", settings.dataset.model_dump(), simulation_recipe(settings), wording, judge, check)


def training_recipe(settings: Settings) -> str:
    """Of a tuned model; its folder is named by this and by the digest of the rows."""
    shaping = settings.training.model_dump(exclude={"model", "accelerate", "audit_rows"})
    return stage_recipe("training", shaping, dataset_recipe(settings), resources.identify(resources.seed_llm(settings)))


def evaluation_recipe(settings: Settings, model: ModelIdentity) -> str:
    """The recipe of one model's evaluation; its shards' inputs hold the test sessions."""
    shaping = settings.evaluation.model_dump(exclude={"judge_generation", "bootstrap", "seed"})
    judge = resources.identify(settings.evaluation.judge_generation) if settings.evaluation.judge == "llm" else None
    return stage_recipe("evaluation", shaping, model, judge, _wordings(settings, "evaluation"))


def _wordings(settings: Settings, stage: str) -> list[object]:
    """Prompts and cues of the run's languages, as far as the stage uses them."""
    loaded = [languages.load(code) for code in settings.knowledge.languages]
    return [
        [language.code, language.identity_templates, language.words, language.months, language.cues]
        + [language.prompts[name] for name in _PROMPTS[stage]]
        for language in loaded
    ]
