"""chat: a talk with a role in the terminal, with any engine, before or after fine-tuning."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import typer

from ditto_core import languages
from ditto_core.errors import DittoError, InvalidInput
from ditto_core.evaluation.sessions import opened, read_outcome
from ditto_core.generation.generator import Generator
from ditto_core.generation.requests import Completion, Request, Sampling
from ditto_core.generation.thoughts import spoken
from ditto_core.knowledge.profiles import verbalise
from ditto_core.records import Message, Profile
from ditto_core.settings import Settings
from ditto_core.shards import ShardStore, write_text
from tasks import handover, recipes, resources, training

HELP = "/role NAME · /profile on|off · /save FILE · /help · an empty line ends the talk"


def converse(settings: Settings, role: str, model: str) -> None:
    """Read lines, print answers, obey commands that begin with a slash.

    Raises:
        InvalidInput: No such role or model.
    """
    resources.use_environment()
    roles = _roles(settings)
    generation = resources.seed_llm(settings).model_copy(update={"model": _folder(settings, model)})
    screen = Screen()
    # Training sets our own chat template, which has a system role.
    system_role = settings.evaluation.system_role or model != "before"
    talk = Talk(settings, roles, resources.generator(settings, generation), screen.grow, system_role=system_role)
    typer.secho(f"{talk.obey('role', role)}\n{HELP}", dim=True)
    try:
        while line := typer.prompt("you", default="", show_default=False, prompt_suffix="> ").strip():
            try:
                typer.echo(screen.rest(talk.say(line)))
            except DittoError as error:  # a mistake in one line does not end the talk
                typer.secho(str(error), err=True, fg="red")
    finally:
        resources.release()


@dataclass(slots=True)
class Screen:
    """An answer that is read while it is written."""

    _shown: str = ""

    def grow(self, text: str) -> None:
        """Print what is new of the text so far; half a character waits for its other half."""
        whole = text.rstrip("\ufffd")
        if whole.startswith(self._shown):
            typer.echo(whole[len(self._shown) :], nl=False)
            self._shown = whole

    def rest(self, text: str) -> str:
        """What is still to be printed of the whole text; all of it if the engine began anew on the way."""
        shown, self._shown = self._shown, ""
        return text[len(shown) :] if text.startswith(shown) else f"\n{text}"


@dataclass(slots=True)
class Talk:
    """One talk: who answers, what was said, and whether the model sees the profile, as the seed did in simulation.

    Attributes:
        roles: Label -> profile.
        watch: Called with the answer so far, as far as the engine tells.
        system_role: False puts what would stand there into the first turn.
    """

    settings: Settings
    roles: dict[str, Profile]
    generator: Generator
    watch: Callable[[str], None] | None = None
    shows_profile: bool = False
    system_role: bool = True
    _role: Profile | None = None
    _turns: list[Message] = field(default_factory=list)

    def say(self, line: str) -> str:
        """What comes back for one line of the user: an answer, or what a command did.

        Raises:
            InvalidInput: An unknown command or argument, or there is no answer; the talk is as it was before.
        """
        if line.startswith("/"):
            command, _, argument = line[1:].partition(" ")
            return self.obey(command, argument.strip())
        asked = self.settings.evaluation
        turns = [*self._turns, Message("user", line)]
        label = self.role.character.label

        def watch(text: str) -> None:
            if self.watch is not None:
                self.watch(f"{label}> {spoken(text).strip()}")

        messages = (*opened(self.system(), turns[0], system_role=self.system_role), *turns[1:])
        sampling = Sampling(asked.temperature, asked.top_p, max_tokens=asked.max_answer_tokens)
        request = Request(messages, sampling, purpose="chat", watch=watch)
        (outcome,) = self.generator.answer([request])
        if not isinstance(outcome, Completion):
            raise InvalidInput(f"the engine gave no answer: {outcome.reason}: {outcome.detail}")
        answer, _ = read_outcome(outcome)
        if not answer:
            raise InvalidInput("the model said nothing; if it thinks before it speaks, raise evaluation.max_answer_tokens")
        self._turns = [*turns, Message("assistant", answer)]
        return f"{label}> {answer}"

    def obey(self, command: str, argument: str) -> str:
        """Carry out a command and say what it did; raises as `say` does."""
        known: dict[str, Callable[[str], str]] = {"role": self._choose, "profile": self._show, "save": self._save}
        if command == "help":
            return HELP
        if command not in known:
            raise InvalidInput(f"/{command} is not known. {HELP}")
        return known[command](argument)

    @property
    def role(self) -> Profile:
        """Who answers."""
        if self._role is None:
            raise InvalidInput("nobody was chosen yet: /role NAME")
        return self._role

    def system(self) -> str:
        """The system prompt: the identity line, or the prompt of response simulation with the profile."""
        character = self.role.character
        language = languages.load(character.language)
        identity = language.identity(character.label, character.description)
        if not self.shows_profile:
            return identity
        profile = verbalise(self.role, language, self.settings.simulation.profile_tokens, self.generator.count_tokens)
        return language.render("response_simulation", identity=identity, profile=profile)

    def _choose(self, label: str) -> str:
        if label not in self.roles:
            some = ", ".join(sorted(self.roles)[:10])
            raise InvalidInput(f"there is no role {label!r}; there are {len(self.roles)}, such as {some}")
        self._role, self._turns = self.roles[label], []
        character = self._role.character
        return languages.load(character.language).identity(character.label, character.description)

    def _show(self, choice: str) -> str:
        if choice not in ("on", "off"):
            raise InvalidInput(f"/profile {choice}: expected on or off")
        self.shows_profile, self._turns = choice == "on", []
        return f"the model {'sees' if self.shows_profile else 'does not see'} the profile from here on; the talk begins anew"

    def _save(self, file: str) -> str:
        if not file:
            raise InvalidInput("/save needs the name of a file")
        messages = [Message("system", self.system()), *self._turns]
        rows = [{"role": message.role, "content": message.content} for message in messages]
        write_text(Path(file), json.dumps({"messages": rows}, ensure_ascii=False) + "\n")
        return f"{len(self._turns)} messages are in {file}, as one row that `datasets` reads"


def _roles(settings: Settings) -> dict[str, Profile]:
    store = ShardStore.of(settings)
    shards = handover.take(settings, "profiles", recipes.knowledge_recipe(settings), "collect")
    return {profile.character.label: profile for refs in shards.values() for ref in refs for profile in store.read(ref, Profile)}


def _folder(settings: Settings, model: str) -> str:
    if model == "before":
        return resources.seed_llm(settings).model
    if model != "after":
        raise InvalidInput(f"--model {model!r}: expected before or after")
    return str(training.tuned_model(settings)["folder"])
