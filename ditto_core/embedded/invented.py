"""Invented characters: lives that nobody has read of, to learn reading from.

In:     a random generator, and words of the real world to mix in.
Out:    `Profile`s with the properties that Wikidata has, and values from open
        sets: copying is learned, not lists.
Source: ours.

Example:
    Name: Hugo von Traim
    Description: Slorish painter and spy
    award received: Silver Medal of Kreasbury (1843)

Everything here is pure but for the generator's state.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random

from ditto_core.embedded import phrasing
from ditto_core.records import Article, Character, Claim, Profile, Section


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _lines(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))


_ONSETS = _words("b c d f g h j k l m n p r s t v w " * 2 + "br ch cl dr fl g gr kr pr qu sh sk st th tr y z")
_NUCLEI = _words("a e i o u " * 6 + "ae ai ea ie oa ou ei io y é ö ü")
_CODAS = ("", "", *_words("n r l s t m x sh nd rn th rd ss ld ng sk"))
_FIRST = _words("""
    Ada Marie Isaac Albert Leonard Mary John Anna Sofia Peter Clara Hugo Ivan Olga Leo Nora Emil Ruth Karl
    Jane Arthur Alice Oscar Vera Felix Martha Simon Laura Victor Elena Henry Rosa Omar Layla Chen Yuki Ravi Priya
    Amara Kofi Diego Lucia
""")
_PARTICLES = ("von", "de", "of", "van", "ibn", "de la", "al-", "da")
_NUMERALS = ("I", "II", "III", "IV", "V", "VII", "the Great", "the Younger")
_TOWN_ENDS = ("", "", "", " Bay", " Hill", *_words("ford ham moor ton bury wick port holm dale burg stad"))
_ADJECTIVES = _words("""
    Glass Silver Golden Iron Amber Crimson Hollow Silent Winter Burning Broken Hidden Ivory Copper Velvet
    Thunder Paper Jade Scarlet Frozen Crystal Midnight Bronze Emerald Northern Ancient Blue Black White Royal
    Imperial Secret Last First Grand
""")
_NOUNS = _words("""
    Engine Atlas Symphony Bridge Clock Lantern Garden Codex Compass Mirror Tower Map Harp Fresco Almanac
    Sonata Theatre Ship Key Ballad Organ Throne Lens Fountain Book Opera Library Canal Statue Principles Elements
    Letters Dream Island Waltz
""")
_HONOURS = _words("Medal Cup Crown Star Ribbon Prize Laurel Ring Order Seal Cross Award Legion Fellowship")
_TRADES = _words("""
    clockmaker sailor painter poet physician botanist architect composer explorer queen king general merchant
    astronomer inventor chemist dancer printer judge spy wizard knight pirate detective hunter monk sculptor
    pilot historian physicist mathematician philosopher politician writer nurse emperor pharaoh saint scholar
""")
_ENDINGS = ("ish", "ian", "ese", "an", "ic", "i")
_PEOPLES = _words("""
    Scottish French Italian Norse Persian Greek Polish Dutch Spanish Russian Chinese Indian Irish Roman German
    English Egyptian Austrian American British Japanese fictional mythical medieval ancient
""")
_FIELDS = _words("""
    navigation painting algebra botany music fencing geometry poetry medicine law astronomy physics chemistry
    logic
""")
_INSTRUMENTS = _words("violin piano harp organ flute lute cello trumpet guitar drum")
_BODIES = _words("Society Academy Institute Guild Theatre Company Circle Club School")
_EVENTS = _lines("""
    coronation, discovery, voyage to {}, exile to {}, discovery of {}, siege of {}, Treaty of {}, trial of {}
""")
_MONTHS = _words("January February March April May June July August September October November December")
_DATED: Mapping[str, float] = {
    "award received": 0.8, "notable work": 0.7, "position held": 0.8, "spouse": 0.4, "conflict": 0.5,
    "significant event": 0.8, "participant in": 0.6, "educated at": 0.2, "employer": 0.25, "member of": 0.35,
    "residence": 0.2, "owner of": 0.3, "work location": 0.2,
}  # fmt: skip
_COMMON = _lines("""
    date of birth, place of birth, date of death, place of death, occupation, occupation, notable work,
    notable work, notable work, award received, award received, award received, spouse, father, mother, child,
    child, sibling, position held, position held, conflict, conflict, significant event, residence,
    field of work, employer, educated at, member of, student of, student, country of citizenship, enemy,
    significant person, present in work
""")
_ORDER = tuple(phrasing.WORDINGS)


class Inventor:
    """Makes up names, values and whole lives.

    Args:
        random: Its state is the only thing that changes.
        words: Words of the real world; some of the values are put together from them.
    """

    def __init__(self, random: Random, words: Sequence[str] = ()) -> None:
        self._random = random
        self._words = tuple(words)
        self._makers: Mapping[str, Callable[[], str]] = {
            "person": self.person, "place": self.place, "date": self.date, "trade": self._trade,
            "notable work": self._work, "present in work": self._work, "owner of": self._work,
            "award received": self._award, "position held": self._position, "conflict": self._conflict,
            "participant in": self._conflict, "significant event": self._event, "field of work": self._field,
            "movement": self._field, "instrument": self._instrument, "discoverer or inventor": self._field,
        }  # fmt: skip

    def profile(self, claims: int) -> Profile:
        """A character with about that many claims, mostly in the order in which profiles list them."""
        random = self._random
        labels = random.sample(_COMMON, min(claims, len(_COMMON)))
        if random.random() < 0.3:
            labels[-1] = random.choice(_ORDER)
        once = {label: self.claim(label) for label in labels if label.startswith(("date", "place"))}
        others = [self.claim(label) for label in labels if label not in once]
        listed = [*once.values(), *others]
        if random.random() < 0.75:
            listed.sort(key=lambda claim: _ORDER.index(claim.property))
        else:
            random.shuffle(listed)
        label = self.person()
        aliases = tuple(self._alias(label) for _ in range(random.choice((0, 1, 1, 2))))
        description = self._description() if random.random() < 0.95 else ""
        character = Character("Q0", "en", "Q5", label, description, 1, label, aliases, tuple(listed))
        return Profile(character, article([], label), "")

    def claim(self, label: str) -> Claim:
        """A claim of that property, dated as often as real ones are."""
        sort = phrasing.wordings(label).sort
        maker = self._makers.get(label) or self._makers.get(sort) or self._body
        dated = self._random.random() < _DATED.get(label, 0.0)
        return Claim("P0", label, maker(), "Q0", self.year() if dated else "")

    def like(self, claim: Claim) -> Claim:
        """Another claim that the same question could be about; now and then its value differs by a word."""
        made = self.claim(claim.property)
        parts = claim.value.split()
        if len(parts) > 1 and self._random.random() < 0.2:
            parts[self._random.choice((0, -1))] = self.word()
            made = Claim("P0", claim.property, " ".join(parts), "Q0")
        return Claim("P0", claim.property, made.value, "Q0", self.year() if claim.when else "")

    def word(self) -> str:
        """A word with a capital: of syllables, or a real one."""
        random = self._random
        if self._words and random.random() < 0.4:
            real = random.choice(self._words)
            return real[0].upper() + real[1:]
        return self._syllables(random.choice((1, 2, 2, 2, 3))).capitalize()

    def person(self) -> str:
        """A name of one to four words."""
        random = self._random
        first = random.choice(_FIRST) if random.random() < 0.3 else self.word()
        form = random.random()
        if form < 0.1:
            return first
        if form < 0.18:
            return f"{first} {random.choice(_NUMERALS)}"
        if form < 0.28:
            return f"{first} {random.choice(_PARTICLES)} {self.word()}".replace("- ", "-")
        middle = f"{self.word()} " if form < 0.45 else ""
        return f"{first} {middle}{self.word()}"

    def place(self) -> str:
        """A place's name."""
        ends = self._random.random() < 0.6
        return self.word() + self._random.choice(_TOWN_ENDS) if ends else self._maybe_two()

    def year(self) -> str:
        """A year, rarely before the common era."""
        random = self._random
        return f"{random.randint(10, 999)} BC" if random.random() < 0.06 else str(random.randint(800, 2020))

    def date(self) -> str:
        """A day, month or year."""
        random = self._random
        form = random.random()
        month = f"{random.choice(_MONTHS)} " if form < 0.82 else ""
        day = f"{random.randint(1, 31)} " if form < 0.7 else ""
        return day + month + self.year()

    def list_of_names(self, count: int) -> str:
        """Names of all sorts in a row, for copying."""
        makers = (self.person, self.place, self._work, self._award, self.year, self._event, self.date)
        return "; ".join(self._random.choice(makers)() for _ in range(count))

    def _syllables(self, count: int) -> str:
        random = self._random
        return "".join(
            random.choice(_ONSETS)
            + random.choice(_NUCLEI)
            + (random.choice(_CODAS) if place == count - 1 or random.random() < 0.3 else "")
            for place in range(count)
        )

    def _lower(self) -> str:
        real = self._words and self._random.random() < 0.4
        return self._random.choice(self._words).lower() if real else self._syllables(self._random.choice((2, 2, 3)))

    def _maybe_two(self) -> str:
        return f"{self.word()} {self.word()}" if self._random.random() < 0.3 else self.word()

    def _noun(self) -> str:
        return self._random.choice(_NOUNS) if self._random.random() < 0.6 else self.word()

    def _adjective(self) -> str:
        return self._random.choice(_ADJECTIVES) if self._random.random() < 0.6 else self.word()

    def _work(self) -> str:
        random = self._random
        forms: tuple[Callable[[], str], ...] = (
            lambda: f"{self._adjective()} {self._noun()}", lambda: f"The {self._adjective()} {self._noun()}",
            lambda: f"Treatise on {self.word()}", lambda: f"On the {self._noun()} of {self.word()}",
            lambda: f"{self._noun()} No. {random.randint(1, 99)}", lambda: f"{self.word()} and {self.word()}",
            lambda: self.word(), lambda: f"{self.word()}'s {self._noun()}",
            lambda: f"{self._noun()} of the {self._noun()}",
        )  # fmt: skip
        return random.choice(forms)()

    def _award(self) -> str:
        random, honour = self._random, self._random.choice(_HONOURS)
        field = random.choice(_FIELDS) if random.random() < 0.4 else self._maybe_two()
        forms = (
            f"{self._adjective()} {honour}",
            f"{honour} of {self.word()}",
            f"{self.word()} {honour} in {field}",
        )
        return random.choice((*forms, f"{self._maybe_two()} {honour}"))

    def _position(self) -> str:
        random, trade = self._random, self._trade()
        return random.choice((trade, f"{trade} of {self.place()}", f"{trade.capitalize()} of {self.place()}", self._lower()))

    def _conflict(self) -> str:
        forms = (
            f"Battle of {self.place()}",
            f"{self._maybe_two()} War",
            f"Siege of {self.place()}",
            f"{self._adjective()} {self.word()} Wars",
        )
        return self._random.choice(forms)

    def _event(self) -> str:
        return self._random.choice(_EVENTS).format(self.word())

    def _field(self) -> str:
        random = self._random
        return (
            random.choice(_FIELDS)
            if random.random() < 0.3
            else random.choice((self._lower(), f"{self._lower()} {self._lower()}"))
        )

    def _instrument(self) -> str:
        return self._random.choice(_INSTRUMENTS) if self._random.random() < 0.5 else self._lower()

    def _trade(self) -> str:
        return self._random.choice(_TRADES) if self._random.random() < 0.6 else self._lower()

    def _body(self) -> str:
        forms = (
            f"University of {self.place()}",
            f"{self._maybe_two()} {self._random.choice(_BODIES)}",
            f"{self.place()} College",
        )
        return self._random.choice(forms)

    def _alias(self, label: str) -> str:
        form = self._random.random()
        if form < 0.4:
            return f"the {self._adjective()} {self._random.choice((self._noun(), self._trade().capitalize()))}"
        return f"{self._adjective()} {label.split()[0]}" if form < 0.6 else self.person()

    def _description(self) -> str:
        random = self._random
        people = random.choice(_PEOPLES) if random.random() < 0.5 else self.word() + random.choice(_ENDINGS)
        text = f"{people} {self._trade()}"
        form = random.random()
        if form < 0.35:
            return f"{text} and {self._trade()}"
        if form < 0.5:
            return f"{text} of {self.place()}"
        return f"{text} ({random.randint(800, 1990)}–{random.randint(800, 1990)})" if form < 0.6 else text


def article(sentences: Iterable[str], title: str) -> Article:
    """Sentences as an article with nothing but a lead."""
    return Article(title, (Section("", " ".join(sentences)),), (), "", "", "", "")
