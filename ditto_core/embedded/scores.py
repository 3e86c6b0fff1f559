"""Scores: how well the shipped seed does what the pipeline asks of it.

In:     the seed's folder, the embedded world, characters invented with a random seed that training
        did not use, and facts that `ditto collect` found of other people, if there are any.
Out:    a table, printed and written into the model card `seed/README.md`.
Source: ours. Decoding is greedy; prompts are those of the pipeline.

    python -m ditto_core.embedded.scores
    python -m ditto_core.embedded.scores --beside "seed 1=/tmp/one" --beside "seed 2=/tmp/two"

Example row: exact answers with the profile, invented characters, question names a year's event | 0.93 | 100
"""

import argparse
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from ditto_core import languages
from ditto_core.embedded import judgements, seed_folder
from ditto_core.embedded.card import Score, card
from ditto_core.embedded.documents import QUESTIONS, Writer, chat
from ditto_core.embedded.invented import article
from ditto_core.embedded.judgements import METRICS
from ditto_core.embedded.known import load_world
from ditto_core.embedded.phrasing import Voice
from ditto_core.embedded.pretrain import rounds_of
from ditto_core.evaluation.unknown_rejection import refuses
from ditto_core.records import Character, Claim, Message, Profile, from_table
from ditto_core.shards import read_groups

_UNSEEN_SEED = 90_210
_BATCH = 64


@dataclass(frozen=True, slots=True)
class Case:
    """A prompt, and what a reply must be."""

    messages: tuple[Message, ...]
    holds: Callable[[str], bool]


class Seed:
    """The model, asked greedily."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, padding_side="left")
        self._model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)

    def count(self, text: str) -> int:
        """Length of a text in tokens."""
        return len(self.tokenizer.encode(text, add_special_tokens=False))

    @torch.no_grad()
    def replies(self, prompts: Sequence[Sequence[Message]], most: int) -> list[str]:
        """One reply each, of at most `most` tokens."""
        texts = [self._render(prompt) for prompt in prompts]
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        found = [""] * len(texts)
        for start in range(0, len(order), _BATCH):
            places = order[start : start + _BATCH]
            chosen = [texts[place] for place in places]
            inputs = self.tokenizer(chosen, return_tensors="pt", padding=True, add_special_tokens=False)
            ids, mask = inputs["input_ids"], inputs["attention_mask"]
            made = self._model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=most,
                do_sample=False,
                pad_token_id=self.tokenizer.pad_token_id,
            )
            for place, row in zip(places, made[:, ids.shape[1] :], strict=True):
                found[place] = str(self.tokenizer.decode(row, skip_special_tokens=True)).strip()
        return found

    def _render(self, prompt: Sequence[Message]) -> str:
        messages = [{"role": message.role, "content": message.content} for message in prompt]
        return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


class Examiner:
    """Sets the questions of one language and marks the replies."""

    def __init__(self, seed: Seed, code: str, cases: int, show: int = 0, others: Sequence[Profile] = ()) -> None:
        self._seed, self._cases, self._show, self._others = seed, cases, show, others
        self._random = Random(_UNSEEN_SEED)
        self._language = languages.load(code)
        self._world = load_world(code)
        self._writer = Writer(self._random, self._language, self._world, seed.count)
        self._phrasing = self._writer.phrasing
        self._of = "" if code == "en" else f"{code}: "
        self._held_out = tuple(p for p in self._world.known if p not in self._world.playable)

    def scores(self) -> Iterable[Score]:
        """All rows, one after the other."""
        unseen = [self._writer.invented() for _ in range(self._cases)]
        groups = {
            f"{self._of}invented": unseen,
            "other people": self._others,
            f"{self._of}world, train": self._world.playable,
            f"{self._of}world, held out": self._held_out,
        }
        for group, profiles in groups.items():
            if profiles:
                yield from self._with_profile(group, profiles)
        for group, profiles in groups.items():
            if profiles:
                yield from self._query_rows(group, profiles)
        for group, profiles in groups.items():
            if "world" in group and profiles:
                yield from self._without_profile(group, profiles)
        for group, profiles in groups.items():
            if profiles:
                yield from self._as_judge(group, profiles)

    def _with_profile(self, group: str, profiles: Sequence[Profile]) -> Iterable[Score]:
        dated, undated, generic, own, foreign = (list[Case]() for _ in range(5))
        for place in range(self._cases):
            profile = profiles[place % len(profiles)]
            text = self._writer.verbalised(profile)
            shown = [claim for claim in profile.character.claims if claim.text() in text.split("\n")]
            named = [claim for claim in shown if self._phrasing.names_something(claim)]
            for claim in self._random.sample(named, min(2, len(named))):
                case = self._named_case(profile, text, claim, named)
                (dated if self._phrasing.is_dated(claim) else undated).append(case)
                own.append(Case(case.messages, self._refuses))
                other = self._writer.turns.foreign(text, claim, self._world.known)
                question = self._phrasing.naming_questions(other)[0]
                foreign.append(Case(self._asked(profile, text, question), self._refuses))
            asked = [claim for claim in shown if self._phrasing.wordings(claim.property).asks_value]
            if asked:
                generic.append(self._generic_case(profile, text, asked))
        yield self._score(f"exact answer with profile, names something dated ({group})", dated)
        yield self._score(f"exact answer with profile, names something undated ({group})", undated)
        yield self._score(f"exact answer with profile, names nothing ({group})", generic)
        yield self._score(f"false refusal with profile, own question ({group})", own)
        yield self._score(f"right refusal with profile, foreign question ({group})", foreign)

    def _refuses(self, reply: str) -> bool:
        return refuses(reply, self._language)

    def _named_case(self, profile: Profile, text: str, claim: Claim, named: Sequence[Claim]) -> Case:
        """A question that names the claim's value; where a place is that of birth and of death, either is right."""
        question = self._random.choice(self._phrasing.naming_questions(claim))
        meant = [one for one in named if question in self._phrasing.naming_questions(one)]
        right = [answer for one in meant for answer in self._phrasing.naming_answers(one)]
        return Case(self._asked(profile, text, question), _begins(right))

    def _generic_case(self, profile: Profile, text: str, claims: Sequence[Claim]) -> Case:
        chosen = self._random.choice(claims)
        right = self._right(claims, chosen)
        return Case(
            self._asked(profile, text, self._random.choice(self._phrasing.generic_questions(chosen))),
            _begins(right),
        )

    def _right(self, claims: Sequence[Claim], chosen: Claim, voice: Voice | None = None) -> list[str]:
        """All answers to a question that names nothing: several values of the property may be given."""
        same = [claim for claim in claims if claim.property == chosen.property]
        return [answer for claim in same for answer in self._phrasing.generic_answers(claim, voice)]

    def _asked(self, profile: Profile, text: str, question: str) -> tuple[Message, ...]:
        return (Message("system", self._writer.response_system(profile, text)), Message("user", question))

    def _query_rows(self, group: str, profiles: Sequence[Profile]) -> Iterable[Score]:
        prompts, pairs = [], []
        couples = list(itertools.permutations(profiles, 2))
        for role, partner in self._random.sample(couples, min(len(couples), self._cases)):
            texts = self._writer.verbalised(role), self._writer.verbalised(partner)
            claims = [c for c in role.character.claims if self._phrasing.names_something(c) and c.text() in texts[0].split("\n")]
            if len(claims) < QUESTIONS:
                continue
            prompts.append((Message("user", self._writer.query_prompt(role, texts[0], partner, texts[1])),))
            pairs.append((claims, texts[1]))
        replies = self._seed.replies(prompts, 256)
        lists = [_questions(reply) for reply in replies]
        self._examples(f"queries ({group})", prompts, replies)
        asked = [(question, *pair) for questions, pair in zip(lists, pairs, strict=True) for question in questions]
        about = [any(question in self._phrasing.naming_questions(claim) for claim in claims) for question, claims, _ in asked]
        partner_too = [
            any(question in self._phrasing.naming_questions(claim) and claim.value in text for claim in claims)
            for question, claims, text in asked
        ]
        varied = [len(set(questions)) == QUESTIONS for questions in lists]
        yield Score(f"query simulation: a JSON list of {QUESTIONS} questions ({group})", _mean(map(bool, lists)), len(lists))
        yield Score(f"query simulation: all {QUESTIONS} of them different ({group})", _mean(varied), len(varied))
        yield Score(f"query simulation: exact question on a fact of the role ({group})", _mean(about), len(about))
        yield Score(f"query simulation: the partner has a part in it too ({group})", _mean(partner_too), len(asked))

    def _without_profile(self, group: str, profiles: Sequence[Profile]) -> Iterable[Score]:
        """An assistant tells of somebody; then a role of whom nothing is shown speaks, as it is meant to after fine-tuning."""
        told = self._recall(profiles, lambda character: self._phrasing.of(character.label), self._to_assistant)
        for what, cases in told.items():
            yield self._score(f"third person, {what} ({group})", cases)
        played = self._recall(profiles, lambda _: None, self._to_role)
        for what, cases in played.items():
            yield self._score(f"in character without profile, {what} ({group})", cases)
        named, generic, _ = played.values()
        own = [Case(case.messages, self._refuses) for case in named]
        yield self._score(f"in character without profile, refuses what is its own ({group})", own)
        who = self._phrasing.who_asks()[0]
        greeted = [self._to_role(profiles[place % len(profiles)].character, who) for place in range(self._cases)]
        asked = [*(case.messages for case in (*named, *generic)), *greeted]
        persona = [Case(messages, lambda reply: self._language.speaks("assistant", reply)) for messages in asked]
        yield self._score(f"speaks as an AI assistant under the bare line of identity ({group})", persona)

    def _as_judge(self, group: str, profiles: Sequence[Profile]) -> Iterable[Score]:
        """Verdicts on exchanges of which the truth is known; who speaks is asked where the seed can know the people."""
        able = [one for one in profiles if any(map(self._phrasing.names_something, one.character.claims))]
        labels = [one.character.label for one in self._world.known] if "world" in group else []
        by_metric: dict[str, list[Case]] = {metric: [] for metric in METRICS}
        for place in range(self._cases):
            role = able[place % len(able)]
            others = [label for label in labels if label != role.character.label]
            for metric, case in self._writer.planter.cases(self._writer.planter.exchange(role), others).items():
                by_metric[metric].append(Case((Message("user", case.prompt),), _gives(case)))
        for metric, cases in by_metric.items():
            yield self._score(f"as a judge, {metric}: the verdict that is true ({group})", cases)

    def _recall(
        self, profiles: Sequence[Profile], voice_of: Callable[[Character], Voice | None],
        prompt: Callable[[Character, str], tuple[Message, ...]],
    ) -> dict[str, list[Case]]:  # fmt: skip
        """Questions on what stands in no prompt, by what they name."""
        named, generic, foreign = (list[Case]() for _ in range(3))
        for place in range(self._cases):
            character = profiles[place % len(profiles)].character
            voice = voice_of(character)
            claim = self._random.choice([claim for claim in character.claims if self._phrasing.names_something(claim)])
            question = self._random.choice(self._phrasing.naming_questions(claim, voice))
            named.append(Case(prompt(character, question), _begins(self._phrasing.naming_answers(claim, voice))))
            claims = [claim for claim in character.claims if self._phrasing.wordings(claim.property).asks_value]
            chosen = self._random.choice(claims)
            question = self._random.choice(self._phrasing.generic_questions(chosen, voice))
            generic.append(Case(prompt(character, question), _begins(self._right(claims, chosen, voice))))
            other = self._writer.turns.foreign("\n".join(c.text() for c in character.claims), claim, self._world.known)
            question = self._phrasing.naming_questions(other, voice)[0]
            foreign.append(Case(prompt(character, question), _begins(self._phrasing.refusals(other, voice))))
        return {"names something": named, "names nothing": generic, "says that something foreign is foreign": foreign}

    def _to_role(self, character: Character, question: str) -> tuple[Message, ...]:
        return chat(self._language.identity(character.label, character.description), [(question, "")])[:2]

    def _to_assistant(self, _: Character, question: str) -> tuple[Message, ...]:
        return chat(self._phrasing.assistant["systems"][0], [(question, "")])[:2]

    def _score(self, name: str, cases: Sequence[Case]) -> Score:
        replies = self._seed.replies([case.messages for case in cases], 48)
        self._examples(name, [case.messages for case in cases], replies)
        return Score(name, _mean(case.holds(reply) for case, reply in zip(cases, replies, strict=True)), len(cases))

    def _examples(self, name: str, prompts: Sequence[Sequence[Message]], replies: Sequence[str]) -> None:
        for prompt, reply in list(zip(prompts, replies, strict=True))[: self._show]:
            print(f"    {name}: {prompt[-1].content[-160:]!r} -> {reply!r}")


def _begins(answers: Sequence[str]) -> Callable[[str], bool]:
    return lambda reply: reply.startswith(tuple(answers))


def _gives(case: judgements.Case) -> Callable[[str], bool]:
    return lambda reply: case.read(reply) == case.verdict


def _questions(reply: str) -> list[str]:
    """The questions of a reply in the wanted format, else none; they may repeat."""
    try:
        found = json.loads(reply)
    except ValueError:
        return []
    if not isinstance(found, list) or len(found) != QUESTIONS:
        return []
    if not all(isinstance(one, dict) and all(isinstance(one.get(key), str) for key in ("question", "reason")) for one in found):
        return []
    return [one["question"] for one in found]


def _mean(values: Iterable[bool]) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else 0.0


def measure(folder: Path, codes: Iterable[str], cases: int, show: int, others: Sequence[Profile]) -> list[Score]:
    """The scores of the model in a folder, in some languages, printed as they come."""
    began, found, seed = time.monotonic(), list[Score](), Seed(folder)
    for code in codes:
        for score in Examiner(seed, code, cases, show, others if code == "en" else ()).scores():
            if score.cases:
                found.append(score)
                print(f"{score.share:.2f}  {score.cases:4d}  {score.name}", flush=True)
    print(f"{folder}: {time.monotonic() - began:.0f} s")
    return found


def main() -> int:
    """Measure, print, and write the model card."""
    parser = argparse.ArgumentParser(description="Measure the embedded seed LLM.")
    parser.add_argument("--folder", type=Path, default=seed_folder())
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--show", type=int, default=0, help="replies to print per row")
    parser.add_argument(
        "--characters", type=Path, nargs="*", default=[], help="Parquet files that `ditto collect` made of other people"
    )
    parser.add_argument("--beside", action="append", default=[], metavar="NAME=FOLDER", help="a column for another model")
    parser.add_argument("--card", action=argparse.BooleanOptionalAction, default=True, help="write README.md into the folder")
    given = parser.parse_args()
    torch.set_num_threads(1)
    known = {profile.character.qid for profile in load_world().known}
    read = [character for path in given.characters for part in read_groups(path) for character in from_table(Character, part)]
    others = [Profile(one, article("", one.label), "") for one in read if one.qid not in known and one.label]
    codes = rounds_of(given.folder)[-1]["languages"]
    found = measure(given.folder, codes, given.cases, given.show, others)
    folders = {name: Path(folder) for name, folder in (pair.split("=", 1) for pair in given.beside)}
    beside = {name: (folder, measure(folder, codes, given.cases, 0, others)) for name, folder in folders.items()}
    if given.card:
        (given.folder / "README.md").write_text(card(given.folder, found, beside), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
