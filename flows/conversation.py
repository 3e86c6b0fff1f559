"""chat: a talk with one role in the terminal."""

from pathlib import Path

import typer

from ditto_core import languages
from ditto_core.errors import InvalidInput
from ditto_core.generation.generator import Completion, Request, Sampling
from ditto_core.records import Character, Message, Profile
from ditto_core.settings import Settings
from ditto_core.shards import ShardStore
from flows.stage import use_environment
from tasks import handover, recipes, resources


def converse(settings: Settings, role: str, model: str) -> None:
    """Read lines, print answers; the model sees the identity line and the talk so far, never the profile.

    Raises:
        InvalidInput: No such role or model.
    """
    use_environment()
    character = _find(settings, role)
    generator = resources.generator(settings, resources.seed_llm(settings).model_copy(update={"model": _folder(settings, model)}))
    identity = languages.load(character.language).identity(character.label, character.description)
    messages = [Message("system", identity)]
    sampling = Sampling(settings.evaluation.temperature, max_tokens=settings.evaluation.max_answer_tokens)
    typer.secho(f"{identity}  (an empty line ends the talk)", dim=True)
    try:
        while question := typer.prompt("you", default="", show_default=False, prompt_suffix="> ").strip():
            messages.append(Message("user", question))
            outcome = next(iter(generator.generate([Request(tuple(messages), sampling, purpose="chat")])))
            if not isinstance(outcome, Completion):
                raise InvalidInput(f"the engine gave no answer: {outcome.reason}: {outcome.detail}")
            messages.append(Message("assistant", outcome.text))
            typer.echo(f"{character.label}> {outcome.text}")
    finally:
        resources.release()


def _find(settings: Settings, role: str) -> Character:
    store = ShardStore(Path(settings.data_root))
    shards = handover.take(settings, "profiles", recipes.knowledge_recipe(settings), "collect")
    known = {p.character.label: p.character for refs in shards.values() for ref in refs for p in store.read(ref, Profile)}
    if role not in known:
        some = ", ".join(sorted(known)[:10])
        raise InvalidInput(f"there is no role {role!r}; there are {len(known)}, such as {some}")
    return known[role]


def _folder(settings: Settings, model: str) -> str:
    if model == "before":
        return resources.seed_llm(settings).model
    if model != "after":
        raise InvalidInput(f"--model {model!r}: expected before or after")
    return str(handover.take_value(settings, "model", recipes.training_recipe(settings), "train")["folder"])
