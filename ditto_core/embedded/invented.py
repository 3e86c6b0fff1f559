"""Invented characters: lives that nobody has read of, to learn reading from.

In:     a random generator, a language's `[invented]` rules, and words of the real world to mix in.
Out:    `Profile`s with the properties that Wikidata has, and values from open
        sets: copying is learned, not lists.
Source: ours.

Example:
    Name: Hugo von Traim
    Description: Slorish painter and spy
    award received: Silver Medal of Kreasbury (1843)

Everything here is pure but for the generator's state.
"""

import re
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from ditto_core.embedded.mix import Mix
from ditto_core.embedded.phrasing import Phrasing
from ditto_core.knowledge.claims import date
from ditto_core.languages import Language
from ditto_core.records import Article, Character, Claim, Profile, Section

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_YEAR, _MONTH, _DAY = 9, 10, 11  # precisions of Wikidata's times
_BCE_SHARE = 0.06
_DESCRIBED_SHARE = 0.95
_UNDATED_SHARE = 0.35
"""Of the lives: how many have no statement with a year, as where qualifiers were not asked for."""
_ALIKE_SHARE = 0.3
"""Of the further values of a property: how many begin as the one before does, as awards and works often do."""
_OTHER_SORT_SHARE, _TWICE_SHARE = 0.3, 0.1
"""Of the values in lifelike lives: how many are of any sort, and how many stand under a property before, too."""


class Inventor:
    """Makes up names, values and whole lives.

    Args:
        random: Its state is the only thing that changes.
        language: In whose words dates are put.
        phrasing: Its rules.
        mix: How lives and names are made up.
        words: Words of the real world; some of the values are put together from them.
        pieces: What single tokens say; those in the language's letters are put together, too.
    """

    def __init__(
        self, random: Random, language: Language, phrasing: Phrasing, mix: Mix,
        words: Sequence[str] = (), pieces: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self._random, self._language, self._phrasing, self._mix = random, language, phrasing, mix
        invented = phrasing.invented
        further: Sequence[Mapping[str, Any]] = invented.get("further", ())[: mix.further]
        self._values: Mapping[str, str] = invented["values"]
        self._dated: Mapping[str, float] = invented["dated"]
        self._common: Sequence[str] = invented["common"]
        self._unlisted = [label for part in (invented, *further) for label in part["unlisted"]]
        self._apart: str = invented["words_apart"]
        self._order = {label: place for place, label in enumerate(phrasing.properties)}
        self._rules: dict[str, tuple[Sequence[str], Sequence[float] | None]] = {
            name: (rule.split(), None)
            if isinstance(rule, str)
            else _weighed(ChainMap(*(part["rules"].get(name, {}) for part in reversed(further)), rule))
            for name, rule in invented["rules"].items()
        }
        self._rules["real"] = (tuple(words) or ("{made_up}",), None)
        letters = {letter for forms, _ in self._rules.values() for form in forms for letter in form}
        self._pieces = [piece for piece in pieces if letters.issuperset(piece)]
        self._builtins: Mapping[str, Callable[[], str]] = {"year": self.year, "date": self._date}

    def make(self, rule: str) -> str:
        """A text of that rule; with a capital if the rule's name has one."""
        name = rule.lower()
        if name in self._builtins:
            return self._builtins[name]()
        if self._mix.pieced and self._pieces and name in ("real", "made_up") and self._random.random() < self._mix.pieced:
            return "".join(self._random.choices(self._pieces, k=self._random.randint(1, 3)))
        forms, weights = self._rules[name]
        form = self._random.choices(forms, weights)[0]
        text = _PLACEHOLDER.sub(lambda found: self.make(found[1]), form)
        return text[0].upper() + text[1:] if rule[0].isupper() else text

    def profile(self, claims: int) -> Profile:
        """A character with about that many claims, mostly in the order in which profiles list them."""
        random = self._random
        labels = random.sample(self._common, min(claims, len(self._common)))
        if random.random() < 0.3:
            labels[-1] = random.choice(list(self._order))
        lifelike = self._mix.lifelike > 0 and random.random() < self._mix.lifelike
        if lifelike:
            labels[::2] = random.choices(tuple(self._order), k=len(labels[::2]))
        if random.random() < self._mix.unlisted:
            for place in range(self._unlisted_count(len(labels))):
                labels[place] = random.choice(self._unlisted) if random.random() < 0.5 else self.make("unlisted")
        crowded = self._mix.crowded > 0 and random.random() < self._mix.crowded
        if crowded:
            half = len(labels) // 2
            labels = [*labels[:half], *random.choices(labels[: half // 2 + 1], k=len(labels) - half)]
        listed: list[Claim] = []
        for label in sorted(labels):
            claim = self._lifelike(self.claim(label), listed) if lifelike else self.claim(label)
            if listed and listed[-1].property == label and random.random() < _ALIKE_SHARE:
                more = 2 if crowded and random.random() < 0.3 else 0
                claim = Claim("P0", label, self._alike(listed[-1].value, more), "Q0", claim.when)
            listed.append(claim)
        if random.random() < _UNDATED_SHARE:
            listed = [Claim(claim.property_id, claim.property, claim.value, claim.value_id) for claim in listed]
        random.shuffle(listed)
        if random.random() < 0.75:
            listed.sort(key=lambda claim: self._order.get(claim.property, len(self._order)))
        label = self.make("person")
        aliases = tuple(self.make("alias") for _ in range(random.choice((0, 1, 1, 2))))
        description = self.make("description") if random.random() < _DESCRIBED_SHARE else ""
        character = Character("Q0", self._language.code, "Q5", label, description, 1, label, aliases, tuple(listed))
        return Profile(character, article("", label), "")

    def claim(self, label: str) -> Claim:
        """A claim of that property, dated as often as real ones are."""
        sort = self._phrasing.wordings(label).sort
        value = self._date() if sort == "date" else self.make(self._values.get(label) or self._of_sort(sort, label))
        dated = self._random.random() < self._dated.get(label, 0.0)
        return Claim("P0", label, value, "Q0", self.year() if dated else "")

    def _lifelike(self, claim: Claim, before: Sequence[Claim]) -> Claim:
        """The claim, or one whose value is of another sort or stands under a property before."""
        draw, said = self._random.random(), [other.value for other in before if self._phrasing.names_something(other)]
        if not self._phrasing.names_something(claim) or draw > _OTHER_SORT_SHARE + _TWICE_SHARE:
            return claim
        if draw < _OTHER_SORT_SHARE:
            return replace(claim, value=self.make(self._random.choice(tuple(self._values.values()))))
        return replace(claim, value=self._random.choice(said)) if said else claim

    def _of_sort(self, sort: str, label: str) -> str:
        """The rule for values of a property that has none of its own; what stands under an unknown label may be of any sort."""
        anything = self._mix.most_unlisted > 1 and label not in self._order
        return self._random.choice(tuple(self._values.values())) if anything else self._values[sort]

    def _unlisted_count(self, labels: int) -> int:
        most = min(self._mix.most_unlisted, labels)
        return self._random.randint(1, most) if most > 1 else 1

    def like(self, claim: Claim) -> Claim:
        """Another claim that the same question could be about; now and then its value differs by a word."""
        made = self.claim(claim.property).value
        parts = self._parts(claim.value)
        if len(parts) > 1 and self._random.random() < 0.2:
            parts[self._random.choice((0, -1))] = self.make("word")
            made = self._apart.join(parts)
        return Claim("P0", claim.property, made, "Q0", self.year() if claim.when else "")

    def year(self) -> str:
        """A year, rarely before the common era."""
        return self._time(_YEAR)

    def list_of_names(self, count: int) -> str:
        """Names of all sorts in a row, for copying."""
        return "; ".join(self.make("anything") for _ in range(count))

    def _alike(self, value: str, more: int) -> str:
        """Another value with the same beginning: its last word differs, or so many words follow."""
        parts = self._parts(value)
        return self._apart.join([*(parts if more else parts[:-1]), *(self.make("word") for _ in range(more or 1))])

    def _parts(self, value: str) -> list[str]:
        """Its words; its characters in a language that sets no spaces."""
        return value.split(self._apart) if self._apart else list(value)

    def _date(self) -> str:
        return self._time(self._random.choices((_DAY, _MONTH, _YEAR), (7, 1, 2))[0])

    def _time(self, precision: int) -> str:
        random = self._random
        early = random.random() < _BCE_SHARE
        year = f"-{random.randint(10, 999):04d}" if early else f"{random.randint(800, 2020):04d}"
        return date(f"{year}-{random.randint(1, 12):02d}-{random.randint(1, 28):02d}T00:00:00Z", precision, self._language)


def article(text: str, title: str) -> Article:
    """An article with nothing but a lead."""
    return Article(title, (Section("", text),), (), "", "", "", "")


def _weighed(rule: Mapping[str, float]) -> tuple[Sequence[str], Sequence[float]]:
    return tuple(rule), tuple(rule.values())
