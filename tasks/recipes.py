"""What shapes each stage's output, as digests; each holds those before it, so a change reaches everything downstream.

A knob that only changes speed is left out here, once for all.
"""

from collections.abc import Collection

from ditto_core import languages
from ditto_core.recipe import stage_recipe
from ditto_core.settings import GenerationSettings, ModelSettings, Settings
from ditto_core.training.run import unshaping
from tasks import resources, toxicity

_SPEED = {"batch_size", "timeout_s", "contact", "snapshot", "offline", "article_limit_s"}
_PROMPTS = {
    "simulation": ("query_simulation", "response_simulation"),
    "prediction": ("response_simulation",),
    "judgement": ("judge_identity", "judge_identity_letter", "judge_knowledge", "judge_rejection", "judge_rejection_letter"),
    "mt_bench": ("judge_mt_bench",),
}


def knowledge_recipe(settings: Settings) -> str:
    """Of characters, pages and profiles."""
    return stage_recipe("knowledge", settings.knowledge.model_dump(exclude=_SPEED), settings.shards)


def simulation_recipe(settings: Settings) -> str:
    """Of dialogues; holds the identity of the model that simulates."""
    return stage_recipe(
        "simulation",
        settings.simulation.model_dump(),
        knowledge_recipe(settings),
        resources.identify(settings.generation),
        settings.generation.max_model_len,
        _wordings(settings.knowledge.languages, "simulation"),
    )


def dataset_recipe(settings: Settings) -> str:
    """Of examples and the published folder; an imported folder's name is the digest of its rows."""
    if settings.dataset.imported:
        return stage_recipe("import", {"imported": settings.dataset.imported})
    spoken = [languages.load(code) for code in settings.knowledge.languages]
    wording = [[language.scripts, language.words_apart, language.cues] for language in spoken]
    judge: list[object] = []
    if settings.dataset.refusals == "judge":
        asked = [language.prompts["judge_rejection"] for language in spoken]
        judge = [*_model(settings.evaluation.judge_generation), settings.evaluation.max_judge_tokens, asked]
    check = toxicity.identify(settings.dataset.toxicity) if settings.dataset.toxicity else ""
    return stage_recipe("dataset", settings.dataset.model_dump(), simulation_recipe(settings), wording, judge, check)


def training_recipe(settings: Settings) -> str:
    """Of a tuned model; its folder is named by this and by the digest of the rows."""
    shaping = settings.training.model_dump(exclude={"model", *unshaping(settings.training)})
    return stage_recipe("training", shaping, dataset_recipe(settings), resources.identify(resources.seed_llm(settings)))


def prediction_recipe(settings: Settings, model: ModelSettings, languages_of_tests: Collection[str]) -> str:
    """Of one model's answers; its shards' inputs hold the test sessions."""
    evaluation = settings.evaluation
    shaping = evaluation.model_dump(include={"context", "runs", "temperature", "top_p", "max_answer_tokens"})
    asked: list[object] = [resources.identify(model.generation), model.generation.max_model_len, model.system_role]
    if evaluation.context != "identity":
        asked += [settings.simulation.profile_tokens, _wordings(languages_of_tests, "prediction")]
    return stage_recipe("evaluation", shaping, *asked)


def judgement_recipe(settings: Settings, languages_of_tests: Collection[str]) -> str:
    """Of verdicts; its shards' inputs hold the answers."""
    return stage_recipe("evaluation", _judging(settings), _judge(settings), _wordings(languages_of_tests, "judgement"))


def mt_bench_recipe(settings: Settings, model: ModelSettings) -> str:
    """Of one model's answers to MT-Bench; its shard's inputs hold the questions."""
    shaping = settings.evaluation.model_dump(include={"runs", "max_answer_tokens"})
    return stage_recipe("evaluation", shaping, *_model(model.generation))


def grading_recipe(settings: Settings) -> str:
    """Of MT-Bench's grades; its shards' inputs hold the answers."""
    return stage_recipe("evaluation", _judging(settings), _judge(settings), _wordings(languages.available(), "mt_bench"))


def _judging(settings: Settings) -> dict[str, object]:
    return settings.evaluation.model_dump(include={"judge", "judge_by", "votes", "judge_temperature", "max_judge_tokens"})


def _judge(settings: Settings) -> list[object]:
    return _model(settings.evaluation.judge_generation) if settings.evaluation.judge == "llm" else []


def _model(generation: GenerationSettings) -> list[object]:
    """A model as far as it shapes its replies: a longer prompt than it takes gets none."""
    return [resources.identify(generation), generation.max_model_len]


def _wordings(codes: Collection[str], use: str) -> list[object]:
    """Prompts and cues of languages, as far as they are used."""
    loaded = [languages.load(code) for code in sorted(codes)]
    return [
        [language.code, language.identity_templates, language.words, language.months, language.cues, language.scripts]
        + [language.prompts.get(name, "") for name in _PROMPTS[use]]
        for language in loaded
    ]
