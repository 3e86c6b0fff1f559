"""Claims: what the statements of one character say, in the words of a language.

Input:   `Statement`s, the labels of the properties, items and units they mention, and a `Language`.
Output:  `Claim`s, most telling property first, with counts of what had no words.
Source:  arXiv 2401.12474, section 3.2 (claims as property label and value label); Wikibase's RDF format.

Example:
    Statement("Q7186", "P569", "Time", Term("1867-11-07T00:00:00Z"), precision=11)  ->  date of birth: 7 November 1867

Everything here is pure.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from string import Template

from ditto_core.knowledge.sparql import Term
from ditto_core.languages import Language
from ditto_core.records import Claim

ENTITY = "http://www.wikidata.org/entity/"
PREFERRED, NORMAL, DEPRECATED = 2, 1, 0

# What a person asks first; properties that are not named follow by the number of their P-id.
_ASKED_FIRST = (
    "P569 P19 P570 P20 P106 P39 P27 P170 P50 P1441 P1080 P800 P166 P26 P451 P22 P25 P40 P3373 P53 P69 P184 P1066 "
    "P802 P101 P135 P737 P463 P102 P140 P108 P551 P937 P607 P410 P241 P97 P136 P1303 P54 P413 P641 P509 P1196 P157 "
    "P119 P7047 P1038 P1449 P742 P1477"
)
_PLACE = {property_id: place for place, property_id in enumerate(_ASKED_FIRST.split())}

# Bookkeeping of Wikidata and its sister projects, or plain from the character's name and class.
_BOOKKEEPING = (
    "P31 P279 P361 P373 P460 P910 P935 P972 P1472 P1343 P1424 P1455 P1464 P1465 P1792 P1889 P1963 P2184 P2354 "
    "P2888 P4224 P5008 P5125 P6104 P6216 P6379 P7763 P7084 P7561 P7867 P8402 P8687 P8989 P9926 P11889 "  # wikis
    "P485 P5869 P6275 P6365 P6569 P7763 P12151 P1151 P3876 P8933 P1299 P1476 "  # archives and catalogues
    "P21 P734 P735 P1448 P1559 P1560 P1705 P1813 P1814 P1950 P2561 P2562 P5278 P5056 P9139 "  # names, grammar
    "P898 P443 P487 P989 P990 P1442 P528 P444 P3150 P5021 P1552 P6886 P2572 P1482 P13269"  # codes, sounds
)
_SAYS_NOTHING = frozenset(_BOOKKEEPING.split())
_DAY, _MONTH, _YEAR, _DECADE, _CENTURY = 11, 10, 9, 8, 7
_JULIAN = f"{ENTITY}Q1985786"
_NO_UNIT = f"{ENTITY}Q199"
_DATE = re.compile(r"([+-]?)(\d+)-(\d\d)-(\d\d)(?:T|$)")
_INVISIBLE = re.compile("[\u00ad\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
_ITEM = re.compile(re.escape(ENTITY) + r"([QP][1-9]\d*)")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of Wikidata, as its RDF has it.

    Attributes:
        kind: Wikibase's data type of the property, such as "Time".
        precision: Of a date: 11 day, 10 month, 9 year, 8 decade, 7 century; None where the source has none.
        calendar: IRI of the calendar in which a date was entered, or "".
        unit: IRI of a quantity's unit, or "".
        since: Date, then precision, of its "point in time", "start time" or "publication date".
    """

    item: str
    property_id: str
    kind: str
    value: Term
    rank: int = NORMAL
    precision: int | None = None
    calendar: str = ""
    unit: str = ""
    since: tuple[str, int | None] = ("", None)


def says_something(property_id: str) -> bool:
    """Whether a property may matter in a dialogue; a small explicit table of others is left out."""
    return property_id not in _SAYS_NOTHING


def mentioned(statements: Iterable[Statement]) -> set[str]:
    """Ids of all properties, items and units whose labels the statements need."""
    ids = set()
    for statement in statements:
        ids.add(statement.property_id)
        ids.update(filter(None, (entity_id(statement.value.value), entity_id(statement.unit))))
    return ids


def entity_id(iri: str) -> str:
    """The Q-id or P-id of an entity's IRI; "" for anything else."""
    match = _ITEM.fullmatch(iri)
    return match[1] if match else ""


def tidy(text: str) -> str:
    """A label or value on one line, without marks of direction and other signs that nobody sees."""
    return " ".join((text if text.isascii() else _INVISIBLE.sub("", text)).split())


def claims(
    statements: Iterable[Statement], labels: Mapping[str, str], language: Language, max_values: int
) -> tuple[tuple[Claim, ...], Counter[str]]:
    """Put the statements of one character into words.

    Of each property the best rank counts: preferred statements hide normal ones, deprecated ones never show.

    Args:
        statements: In any order.
        labels: Id -> label, for everything in `mentioned`.
        language: In whose words dates are put, and whose texts are kept.
        max_values: Values kept of one property.

    Returns:
        The claims, and how many statements had no words, by reason.
    """
    by_property: dict[str, list[Statement]] = {}
    for statement in statements:
        if statement.rank != DEPRECATED and says_something(statement.property_id):
            by_property.setdefault(statement.property_id, []).append(statement)
    found: list[Claim] = []
    unsaid: Counter[str] = Counter()
    for property_id in sorted(by_property, key=_importance):
        group = by_property[property_id]
        best = max(statement.rank for statement in group)
        if property_id not in labels:
            unsaid["property_without_label"] += len(group)
            continue
        values: dict[Claim, int] = {}
        for statement in group:
            if statement.rank == best:
                claim, reason = _claim(statement, labels, language)
                if claim is None:
                    unsaid[reason] += 1
                else:
                    values[claim] = _year(statement.since[0])
        found += _in_order(values)[:max_values]
    return tuple(found), unsaid


def date(text: str, precision: int | None, language: Language, calendar: str = "") -> str:
    """A date of Wikidata's RDF in words; "" where it is unreadable or vaguer than a century.

    Years up to 0 are before the common era, one off: 0 is 1 BC. Days that were entered in the Julian calendar
    are stored as Gregorian ones, so they are turned back into what the books say. Without a precision, the first
    of January counts as a year, because that is how the plain form writes one.
    """
    match = _DATE.match(text)
    if not match:
        return ""
    year = int(match[2]) * (-1 if match[1] == "-" else 1)
    month, day = int(match[3]), int(match[4])
    if precision is None:
        precision = _YEAR if (month, day) <= (1, 1) else _DAY
    if precision >= _DAY and calendar == _JULIAN:
        year, month, day = _julian(year, month, day)
    era_year = year if year > 0 else 1 - year
    if precision >= _DAY and month and day:
        words = _words(language, "day", day=day, month=language.months[month - 1], year=era_year)
    elif precision >= _MONTH and month:
        words = _words(language, "month", month=language.months[month - 1], year=era_year)
    elif precision >= _YEAR:
        words = _words(language, "year", year=era_year)
    elif precision == _DECADE:
        words = _words(language, "decade", year=era_year - era_year % 10)
    elif precision == _CENTURY:
        words = _words(language, "century", century=-(-era_year // 100))
    else:
        return ""
    return words if year > 0 else _words(language, "before_common_era", date=words)


def _words(language: Language, key: str, **values: object) -> str:
    return Template(language.words["dates"][key]).substitute(values)


def _julian(year: int, month: int, day: int) -> tuple[int, int, int]:
    """The Julian calendar's name of a Gregorian day, by way of the Julian day number."""
    shift = (14 - month) // 12
    years, months = year + 4800 - shift, month + 12 * shift - 3
    number = day + (153 * months + 2) // 5 + 365 * years + years // 4 - years // 100 + years // 400 - 32045
    days = number + 32082
    years = (4 * days + 3) // 1461
    rest = days - 1461 * years // 4
    months = (5 * rest + 2) // 153
    return years - 4800 + months // 10, months + 3 - 12 * (months // 10), rest - (153 * months + 2) // 5 + 1


def _importance(property_id: str) -> tuple[int, int]:
    return _PLACE.get(property_id, len(_PLACE)), int(property_id[1:])


def _claim(statement: Statement, labels: Mapping[str, str], language: Language) -> tuple[Claim | None, str]:
    """The claim, or None and the reason."""
    text, reason, value_id = "", "", ""
    value = statement.value
    if value.kind == "bnode" or (value.kind == "uri" and statement.kind != "WikibaseItem"):
        return None, "unknown_value"  # Wikidata's "some value" and "no value"
    if statement.kind == "WikibaseItem":
        value_id = entity_id(value.value)
        text, reason = labels.get(value_id, ""), "value_without_label" if value_id else "unknown_value"
    elif statement.kind == "Time":
        text, reason = date(value.value, statement.precision, language, statement.calendar), "vague_date"
    elif statement.kind == "Quantity":
        text, reason = _quantity(value.value, statement.unit, labels), "unit_without_label"
    elif not value.language or _is_readable(value.language, language):
        text, reason = value.value, "empty_value"
    else:
        reason = "value_in_other_language"
    text = tidy(text)
    if not text:
        return None, reason
    since, since_precision = statement.since
    when = date(since, min(since_precision or _YEAR, _YEAR), language)
    return Claim(statement.property_id, labels[statement.property_id], text, value_id, when), ""


def _is_readable(tag: str, language: Language) -> bool:
    return tag in (language.wiki, *language.label_fallbacks) or tag.split("-")[0] == language.wiki


def _quantity(amount: str, unit: str, labels: Mapping[str, str]) -> str:
    number = amount.lstrip("+")
    if "." in number:
        number = number.rstrip("0").rstrip(".")
    if not unit or unit == _NO_UNIT:
        return number
    label = labels.get(entity_id(unit), "")
    return f"{number} {label}" if label else ""


def _in_order(values: Mapping[Claim, int]) -> list[Claim]:
    """Dated values by year, then the others by label; a value that also comes with a date loses its dateless twin."""
    dated = {claim.value for claim in values if claim.when}
    return sorted(
        (claim for claim in values if claim.when or claim.value not in dated),
        key=lambda claim: (not claim.when, values[claim], claim.value, claim.value_id),
    )


def _year(text: str) -> int:
    match = _DATE.match(text)
    return int(match[1] + match[2]) if match else 0
