"""Templates of a wiki's text that carry prose: what each shows to a reader.

Input:   a template's name and its arguments, already rendered to text.
Output:  the text in its place; "" for every template that is not in the table, such as boxes and footnotes.
Source:  the templates' own documentation on Wikipedia.

Example:
    shown("Circa", {"1": "1490"}, english)  ->  "c. 1490"
    shown("Infobox person", {"name": "Ada"}, english)  ->  ""

Everything here is pure.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial

from ditto_core.languages import Language

Arguments = Mapping[str, str]
_Renderer = Callable[[Arguments, Language], str]


def shown(name: str, arguments: Arguments, language: Language) -> str:
    """What a reader sees in the template's place.

    Args:
        name: As written; case, underscores and spaces around don't matter.
        arguments: Name or position ("1", "2") -> rendered text.
        language: Whose words dates are written in.
    """
    key = " ".join(name.replace("_", " ").lower().split())
    renderer = _TABLE.get(key)
    if renderer is None and re.fullmatch(r"lang-[a-z-]+", key):
        renderer = partial(_argument, "1")
    return renderer(arguments, language).strip("\n") if renderer else ""


def is_quote(name: str) -> bool:
    """Whether the template is a quotation that stands as a paragraph of its own."""
    return " ".join(name.replace("_", " ").lower().split()) in _QUOTES


def _argument(key: str, arguments: Arguments, _: Language) -> str:
    return arguments.get(key, "").strip()


def _last(arguments: Arguments, _: Language) -> str:
    positions = [key for key in arguments if key.isdigit()]
    return arguments[max(positions, key=int)].strip() if positions else ""


def _first_of(keys: tuple[str, ...], arguments: Arguments, _: Language) -> str:
    return next((arguments[key].strip() for key in keys if arguments.get(key, "").strip()), "")


def _fixed(text: str, _: Arguments, __: Language) -> str:
    return text


def _prefixed(prefix: str, arguments: Arguments, _: Language) -> str:
    years = [arguments[key].strip() for key in ("1", "2") if arguments.get(key, "").strip()]
    return f"{prefix} {'–'.join(years)}" if years else prefix


def _ship(prefix: str, arguments: Arguments, _: Language) -> str:
    return f"{prefix} {arguments.get('1', '').strip()}".strip()


def _nihongo(arguments: Arguments, _: Language) -> str:
    english, kanji, romaji = (arguments.get(key, "").strip() for key in ("1", "2", "3"))
    inside = ", ".join(filter(None, (kanji, romaji)))
    if not english:
        return f"{romaji} ({kanji})" if romaji and kanji else romaji or kanji
    return f"{english} ({inside})" if inside else english


def _date(arguments: Arguments, language: Language) -> str:
    """{{birth date|1809|2|12}} and its relatives; further arguments are another date."""
    year, month, day = (arguments.get(key, "").strip() for key in ("1", "2", "3"))
    if not year.isdigit():
        return year
    words = language.words["dates"]
    if not (month.isdigit() and 1 <= int(month) <= 12):
        return year
    pattern = words["day"] if day.isdigit() else words["month"]
    name = language.months[int(month) - 1]
    return pattern.replace("$day", str(int(day)) if day.isdigit() else "").replace("$month", name).replace("$year", year)


def _year_of_birth(arguments: Arguments, _: Language) -> str:
    return arguments.get("1", "").strip()


def _old_style(arguments: Arguments, _: Language) -> str:
    new, year, old = (arguments.get(key, "").strip() for key in ("1", "2", "3"))
    return f"{new} [O.S. {old}] {year}" if old else f"{new} {year}"


def _old_style_with_year(arguments: Arguments, _: Language) -> str:
    new, year, old = (arguments.get(key, "").strip() for key in ("1", "2", "3"))
    return f"{new} {year} [O.S. {old}]" if old else f"{new} {year}"


_UNIT_WORDS = {
    "acre": "acres",
    "mile": "miles",
    "foot": "feet",
    "inch": "inches",
    "sqmi": "sq mi",
    "C": "°C",
    "F": "°F",
}
_RANGE_WORDS = {
    "-": "–", "–": "–", "to": " to ", "and": " and ", "or": " or ", "by": " by ", "x": " × ", "×": " × ", "+/-": " ± ",
}  # fmt: skip


def _convert(arguments: Arguments, _: Language) -> str:
    """The measure as the author gave it: {{convert|5|to|10|km|mi}} -> 5 to 10 km."""
    value, second, third, fourth = (
        _UNIT_WORDS.get(text, text) for text in (arguments.get(key, "").strip() for key in ("1", "2", "3", "4"))
    )
    if second.lower() in _RANGE_WORDS:
        return f"{value}{_RANGE_WORDS[second.lower()]}{third} {fourth}".strip()
    if re.fullmatch(r"[\d.,]+", third) and fourth:
        return f"{value} {second} {third} {fourth}"
    return f"{value} {second}".strip()


def _fraction(arguments: Arguments, _: Language) -> str:
    parts = [arguments[key].strip() for key in ("1", "2", "3") if key in arguments]
    if len(parts) == 3:
        return f"{parts[0]} {parts[1]}/{parts[2]}"
    return "/".join(parts if len(parts) == 2 else ["1", *parts])


def _as_of(arguments: Arguments, language: Language) -> str:
    lead = "as of" if arguments.get("lc") or arguments.get("since") else "As of"
    if arguments.get("alt", "").strip():
        return arguments["alt"].strip()
    return f"{lead} {_date(arguments, language)}"


def _life(arguments: Arguments, _: Language) -> str:
    """{{bd|1950年|1月2日|2005年|3月12日}} of the Chinese Wikipedia."""
    born_year, born_day, died_year, died_day = (arguments.get(key, "").strip() for key in ("1", "2", "3", "4"))
    return f"{born_year}{born_day}－{died_year}{died_day}"


_QUOTE_NAMES = "quote|blockquote|cquote|quotation|rquote|bquote|quote text|block quote|centered quote|poemquote"
_QUOTES = frozenset(_QUOTE_NAMES.split("|"))


def _table() -> dict[str, _Renderer]:
    by_text: list[tuple[str, _Renderer]] = [
        (
            "nowrap|nobr|nobreak|small|smaller|big|large|larger|nobold|noitalic|abbr|abbrv|tooltip|sic|em|strong|"
            "not a typo|as written|proper name|nastaliq|script|unicode|iast|hebrew|rtl-lang|polytonic|smallcaps|sc|"
            "small caps|formatnum|nts|val|gaps|number|ill|interlanguage link|link-interwiki|birth-date|death-date|"
            "birth date text|date|start-date|end-date|dts|lang-zh-tw|link-en|le|noflip|no italics|"
            "ruby|nowraplinks|linktext|visible anchor|vanchor|anchored",
            partial(_argument, "1"),
        ),
        ("lang|langx|lang-x|langr|script/arabic|rtl", partial(_argument, "2")),
        ("transliteration|transl|xlit|translit|tlit|literal translation|lit.", _last),
        ("ordinal|ord", partial(_argument, "1")),
        ("tsl", partial(_first_of, ("3", "2"))),
        ("circa|c.|ca.|ca|approx", partial(_prefixed, "c.")),
        ("floruit|fl.|fl", partial(_prefixed, "fl.")),
        ("reign|r.", partial(_prefixed, "r.")),
        ("born|b.", partial(_prefixed, "b.")),
        ("died|d.", partial(_prefixed, "d.")),
        ("nihongo|nihongo foot|nihongo krt", _nihongo),
        (
            "birth date|birth date and age|death date|death date and age|start date|end date|film date|bda|dda|"
            "start date and age|end date and age|birthdate|date of birth",
            _date,
        ),
        ("birth year and age|birth year|death year and age|birth based on age as of date", _year_of_birth),
        ("oldstyledate|old style date", _old_style),
        ("oldstyledatedy|oldstyledateny|old style dates", _old_style_with_year),
        ("convert|cvt|convinfobox", _convert),
        ("frac|fraction|sfrac", _fraction),
        ("as of", _as_of),
        ("bd", _life),
        ("nbsp|nbs|space|spaces|sp|thinsp|thin space|hair space|hairsp|px2", partial(_fixed, " ")),
        ("spaced ndash|spaced en dash|snd|snds|spnd|sndash|spndash|ndash spaced", partial(_fixed, " – ")),
        ("ndash|en dash|–", partial(_fixed, "–")),
        ("mdash|em dash|—|spaced mdash", partial(_fixed, "—")),
        ("'|apostrophe", partial(_fixed, "'")),
        ("'s", partial(_fixed, "'s")),
        ("!|pipe", partial(_fixed, "|")),
        ("=", partial(_fixed, "=")),
        ("·|•|dot|middot|bullet|bull", partial(_fixed, " · ")),
        ("\"'|\" '|'\"|' \"", partial(_fixed, "\"'")),
        ("us$|usd", lambda arguments, _: f"US${arguments.get('1', '').strip()}"),
        ("£|gbp|pound sterling", lambda arguments, _: f"£{arguments.get('1', '').strip()}"),
        ("€|euro|eur", lambda arguments, _: f"€{arguments.get('1', '').strip()}"),
        (_QUOTE_NAMES, partial(_first_of, ("text", "quote", "quotetext", "1"))),
    ]
    ships = {name.lower(): partial(_ship, name) for name in ("USS", "HMS", "HMAS", "SS", "RMS", "MS", "USNS", "SMS")}
    return {name: renderer for names, renderer in by_text for name in names.split("|") if name} | ships


_TABLE = _table()
