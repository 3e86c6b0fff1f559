"""What shapes each stage's output, as digests. A knob that only changes speed is left out here, once for all."""

from dataclasses import dataclass

from ditto_core import languages
from ditto_core.recipe import ModelIdentity, stage_recipe
from ditto_core.settings import Settings
from tasks import resources

_SPEED = {"batch_size", "timeout_s", "contact"}
_PROMPTS = {
    "simulation": ("query_simulation", "response_simulation"),
    "evaluation": ("judge_identity", "judge_knowledge", "judge_rejection"),
}


@dataclass(frozen=True, slots=True)
class Recipes:
    """One digest a stage; each holds those before it, so a change reaches everything downstream."""

    knowledge: str
    simulation: str
    dataset: str
    training: str


def recipes(settings: Settings, model: ModelIdentity) -> Recipes:
    """The recipes of a run with that seed LLM."""
    knowledge = stage_recipe("knowledge", settings.knowledge.model_dump(exclude=_SPEED), settings.shards)
    simulation = stage_recipe(
        "simulation", settings.simulation.model_dump(), knowledge, model, _wordings(settings, "simulation")
    )
    dataset = stage_recipe("dataset", settings.dataset.model_dump(), simulation)
    training = stage_recipe("training", settings.training.model_dump(), dataset)
    return Recipes(knowledge, simulation, dataset, training)


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
