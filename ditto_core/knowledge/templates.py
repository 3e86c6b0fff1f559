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

from ditto_core.knowledge.wikis import country
from ditto_core.languages import Language

Arguments = Mapping[str, str]
_Renderer = Callable[[Arguments, Language], str]

# {{lang-ru|..}}, {{link-en|..}}, {{LaS|..}}
_OF_A_LANGUAGE = re.compile(
    r"[Ll]ang-[A-Za-z-]+|[Ll]ink-[A-Za-z-]+|[A-Z]?[a-z]{1,2}S"
)  # {{lang-ru|..}}, {{link-en|..}}, {{LaS|..}}
_FUNCTIONS = frozenset({"formatnum", "lc", "uc", "lcfirst", "ucfirst", "nowrap"})
_SWITCHES = frozenset({"links", "first", "labels", "label", "out", "scase"})  # arguments that show nothing themselves
_ISO_DATE = re.compile(r"(\d{4})-(\d\d)(?:-(\d\d))?")
_CENTURY = re.compile(r"([ivx]+)e siècle")


def shown(name: str, arguments: Arguments, language: Language) -> str:
    """What a reader sees in the template's place.

    Args:
        name: As written; case, underscores and spaces around don't matter.
        arguments: Name or position ("1", "2") -> rendered text.
        language: Whose words dates are written in.
    """
    key = " ".join(name.replace("_", " ").lower().split())
    function, colon, value = name.partition(":")
    if colon and function.strip().lower() in _FUNCTIONS:  # {{formatnum:1234}}
        return value.strip()
    renderer = _TABLE.get(key) or _OF_A_WIKI.get(language.wiki, {}).get(key)
    if renderer is None and _OF_A_LANGUAGE.fullmatch(name.strip()):
        renderer = partial(_argument, "1")
    if renderer is None and (match := _CENTURY.fullmatch(key)):
        return f"{match[1].upper()}e siècle"
    return renderer(arguments, language).strip("\n") if renderer else country(key, language.wiki)


def is_quote(name: str) -> bool:
    """Whether the template is a quotation that stands as a paragraph of its own."""
    return " ".join(name.replace("_", " ").lower().split()) in _QUOTES


def _argument(key: str, arguments: Arguments, _: Language) -> str:
    return arguments.get(key, "").strip()


def _last(arguments: Arguments, _: Language) -> str:
    positions = [key for key in arguments if key.isdecimal()]
    return arguments[max(positions, key=int)].strip() if positions else ""


def _first_of(keys: tuple[str, ...], arguments: Arguments, _: Language) -> str:
    return next((arguments[key].strip() for key in keys if arguments.get(key, "").strip()), "")


def _all(separator: str, arguments: Arguments, _: Language) -> str:
    said = (arguments[key].strip() for key in arguments if key not in _SWITCHES)
    return separator.join(dict.fromkeys(filter(None, said)))


def _measure(arguments: Arguments, _: Language) -> str:
    """{{unité|12.5|km|2}}, {{M|50|k|g}}: a number, then the parts of its unit."""
    said = [arguments[key].strip() for key in arguments if key.isdecimal()]
    return f"{''.join(said[:1])} {''.join(said[1:])}".strip()


def _titled(title: str, arguments: Arguments, _: Language) -> str:
    return f"{title} {arguments.get('1', '').strip()}".strip()


def _in_quotes(arguments: Arguments, _: Language) -> str:
    """{{citation|mot}} of the French Wikipedia."""
    return f"« {arguments.get('1', '').strip()} »"


def _positions(separator: str, arguments: Arguments, _: Language) -> str:
    return separator.join(filter(None, (arguments[key].strip() for key in arguments if key.isdecimal())))


def _quoted(arguments: Arguments, _: Language) -> str:
    return f"„{arguments.get('1', arguments.get('Text', '')).strip()}“"


def _reading(arguments: Arguments, _: Language) -> str:
    """{{読み仮名|夏目漱石|なつめ そうせき|1867年 - 1916年}} of the Japanese Wikipedia."""
    name, *inside = (arguments.get(key, "").strip() for key in ("1", "2", "3"))
    return f"{name}（{'、'.join(filter(None, inside))}）" if any(inside) else name


def _day_first(arguments: Arguments, language: Language) -> str:
    """{{date|2|juin|1833}}, {{ДР|9|9|1828}}: day, month as number or word, year."""
    day, month, year = (arguments.get(key, "").strip() for key in ("1", "2", "3"))
    if " " in day:  # a whole date, and then perhaps a subject
        return day
    if day.isdecimal() and month.isdecimal() and year.isdecimal():
        return _date({"1": year, "2": month, "3": day}, language)
    return " ".join(filter(None, (day, month, year)))


def _date_or_text(arguments: Arguments, language: Language) -> str:
    """{{date|2|juin|1833}} of the French Wikipedia, {{date|2 June 1833}} of others."""
    return _day_first(arguments, language) if "3" in arguments else _argument("1", arguments, language)


def _siecle(arguments: Arguments, language: Language) -> str:
    """{{s|XIX}} of the French Wikipedia; elsewhere a text that does not wrap."""
    text = _argument("1", arguments, language)
    return f"{text}e siècle" if re.fullmatch("[IVX]+", text) else text


def _bio(arguments: Arguments, _: Language) -> str:
    """{{Bio|...}} writes the first sentence of Italian biographies."""
    said = {key: " ".join(arguments[key].split()) for key in arguments}
    name = " ".join(filter(None, (said.get("Titolo"), said.get("Nome"), said.get("Cognome"), said.get("PostCognome"))))
    if said.get("PostCognomeVirgola"):
        name = f"{name}, {said['PostCognomeVirgola']}"
    birth = " ".join(filter(None, (said.get("GiornoMeseNascita"), said.get("AnnoNascita"))))
    death = " ".join(filter(None, (said.get("GiornoMeseMorte"), said.get("AnnoMorte"))))
    born = ", ".join(filter(None, (said.get("LuogoNascita"), birth)))
    died = ", ".join(filter(None, (said.get("LuogoMorte"), death)))
    inside = " – ".join(filter(None, (born, died)))
    women = said.get("Sesso") == "F"
    is_or_was = ("è stata una" if women else "è stato un") if death else ("è una" if women else "è un")
    work = " e ".join(filter(None, (said.get("Attività"), said.get("Attività2"))))
    work = f"{work}{'' if said.get('AttivitàAltre', '').startswith(',') else ' '}{said.get('AttivitàAltre', '')}".strip()
    end = said.get("FineIncipit") or f"{is_or_was} {work} {said.get('Nazionalità', '')}".strip()
    return f"{name} ({inside}) {end}{said.get('PostNazionalità', '')}." if inside else f"{name} {end}."


def _fixed(text: str, _: Arguments, __: Language) -> str:
    return text


def _prefixed(prefix: str, arguments: Arguments, _: Language) -> str:
    years = [arguments[key].strip() for key in ("1", "2") if arguments.get(key, "").strip()]
    return f"{prefix} {'–'.join(years)}" if years else prefix


def _ship(prefix: str, arguments: Arguments, _: Language) -> str:
    return f"{prefix} {arguments.get('1', '').strip()}".strip()


def _nihongo(arguments: Arguments, _: Language) -> str:
    english, kanji, romaji, more = (arguments.get(key, "").strip() for key in ("1", "2", "3", "4"))
    inside = ", ".join(filter(None, (kanji, romaji, more or arguments.get("extra", "").strip())))
    if not english:
        return f"{romaji} ({kanji})" if romaji and kanji else romaji or kanji
    return f"{english} ({inside})" if inside else english


def _date(arguments: Arguments, language: Language) -> str:
    """{{birth date|1809|2|12}} and its relatives; further arguments are another date."""
    year, month, day = (arguments.get(key, "").strip() for key in ("1", "2", "3"))
    if match := _ISO_DATE.fullmatch(year):
        year, month, day = match.groups("")
    if not year.isdecimal():
        return year
    words = language.words["dates"]
    if not (month.isdecimal() and 1 <= int(month) <= 12):
        return " ".join(filter(None, (year, month, day))) if month and not month.isdecimal() else year
    pattern = words["day"] if day.isdecimal() else words["month"]
    name = language.months[int(month) - 1]
    return pattern.replace("$day", str(int(day)) if day.isdecimal() else "").replace("$month", name).replace("$year", year)


def _second_date(arguments: Arguments, language: Language) -> str:
    """{{死亡年月日と没年齢|birth|..|..|death|..|..}} of the Japanese Wikipedia shows the second date."""
    return _date({str(place - 3): arguments[str(place)] for place in (4, 5, 6) if str(place) in arguments}, language)


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


_QUOTE_NAMES = (
    "quote|blockquote|cquote|quotation|rquote|bquote|quote text|block quote|centered quote|poemquote|"
    "zitat|citation bloc|début citation|cita|citazione|citaat|cytat|citat|citát|sitat|цитата|인용문|인용|引用|引文|"
    "quotation|اقتباس|گفتاورد|ציטוט|उद्धरण|উক্তি|alıntı|trích dẫn"
)
_QUOTES = frozenset(_QUOTE_NAMES.split("|"))


_BY_NAMES: list[tuple[str, _Renderer]] = [
    (
        "nowrap|nobr|nobreak|awrap|flag|flagu|flagcountry|small|smaller|big|large|larger|nobold|noitalic|abbr|abbrv|tooltip|sic|em|strong|"
        "not a typo|as written|proper name|nastaliq|script|unicode|iast|hebrew|rtl-lang|polytonic|smallcaps|sc|"
        "small caps|formatnum|nts|gaps|number|link-interwiki|birth-date|death-date|birth-date and age|death-date and age|"
        "birth date text|start-date|end-date|dts|le|noflip|no italics|"
        "ruby|ルビ|nowraplinks|linktext|visible anchor|vanchor|anchored|nihongo2|sup|sub|"
        "citation needed span|cn span|"
        "仮リンク|要出典|要出典範囲|補助漢字フォント|jis2004フォント|僻字|僻|internal link helper|"
        "국기나라|한자|날짜한글화|référence nécessaire|refnec|référence souhaitée|"
        "cita requerida|geburtsdatum|sterbedatum|comment|subst:comment|не переведено 2|не переведено 3|iw|iw2|"
        "versalita|versalitas|fmtn|旧字体|senza fonte|ang.|niem.|fr.|łac.|ros.|wł.|hiszp.|gr.|jap.|إنج|فرن|ألم|אנ|"
        "юлианская дата|año|year",
        partial(_argument, "1"),
    ),
    ("lang|langx|lang-x|langr|llang|script/arabic|rtl|langue|w języku|vjazyce2|cizojazyčně|dil|شبك", partial(_argument, "2")),
    ("font color|fontcolor|color|fontsize", _last),
    ("ill|interlanguage link|illm|interlanguage link multi", partial(_first_of, ("lt", "1"))),
    ("нп|нп2|нп3|нп4|нп5|не переведено|не переведено 5", partial(_first_of, ("2", "1"))),
    ("lien", partial(_first_of, ("texte", "trad", "fr", "1"))),
    ('"', _quoted),
    ("読み仮名|読み仮名 ruby不使用", _reading),
    ("zh|chinese|korean|lang-zh|lang-ko", partial(_all, "; ")),
    (
        "date de naissance|date de naissance-|date de décès|date de décès-|date-|date de mort|fecha|fecha de nacimiento|"
        "fecha de defunción|fecha de fallecimiento|др|дс|дн|дата рождения|дата смерти|дата народження|дата смерті|"
        "dni|dnibr|dtlink|falecimento|morte|nascimento|data di nascita|datum|fødselsdato|dødsdato|syntymäaika|kuolinaika",
        _day_first,
    ),
    ("1er", lambda arguments, _: f"1er {arguments.get('1', '').strip()}".strip()),
    ("unité|unité/2", _measure),
    ("plage de dates|сс|осс|сс3|сс2|nombre|num|число|unidad|unit|jednostka|変換", partial(_positions, " ")),
    ("guil|guillemets", _in_quotes),
    ("séc|século", partial(_titled, "século")),
    ("av jc|av. j.-c.|avant jc", partial(_fixed, "av. J.-C.")),
    ("до н. э.|до н.э.", partial(_fixed, "до н. э.")),
    ("a.c.|a. c.|ac", partial(_fixed, "a. C.")),
    ("ق.م|ق م", partial(_fixed, "ق.م")),
    ("absatz|سخ|clear|-", partial(_fixed, " ")),
    ("val", lambda arguments, _: f"{arguments.get('1', '')} {arguments.get('u', arguments.get('ul', ''))}".strip()),
    ("siglo", lambda arguments, _: f"siglo {arguments.get('1', '').strip()}"),
    ("s|siècle|-s|s-|s mini-|s mini|sp-", _siecle),
    ("bio", _bio),
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
        "start date and age|end date and age|birthdate|date of birth|출생일|사망일|출생일과 나이|사망일과 나이|"
        "生年月日と年齢|生年月日|出生日期|出生日期及年龄|死亡日期|"
        "تاريخ الميلاد|تاريخ الوفاة|تاريخ الميلاد والعمر|تاريخ الوفاة والعمر|"
        "जन्म तिथि|मृत्यु तिथि|जन्म तिथि और आयु|जन्म तिथि एवं आयु|doğum tarihi|ölüm tarihi|doğum tarihi ve yaşı|"
        "ölüm tarihi ve yaşı|ngày sinh|ngày mất|ngày sinh và tuổi|ngày mất và tuổi|födelsedatum|dödsdatum|"
        "födelsedatum och ålder|dödsdatum och ålder|datum narození|datum úmrtí|datum narození a věk|"
        "data|dnv|dúv|tanggal lahir|tanggal lahir dan umur|วันเกิด|วันเกิดและอายุ|ημερομηνία γέννησης|ημερομηνία θανάτου",
        _date,
    ),
    (  # the Persian ones count another calendar's months
        "birth year and age|birth year|death year and age|birth based on age as of date|تاریخ تولد|تاریخ مرگ|تاریخ تولد و سن",
        _year_of_birth,
    ),
    ("死亡年月日と没年齢", _second_date),
    ("和暦", lambda arguments, _: f"{arguments.get('1', '').strip()}年"),
    ("date", _date_or_text),
    ("oldstyledate|old style date", _old_style),
    ("oldstyledatedy|oldstyledateny|old style dates", _old_style_with_year),
    ("convert|cvt|convinfobox|변환|konwersja", _convert),
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
"""Names of templates, with bars between them -> how they are shown."""
_TITLES = ("Mme", "Mlle", "Mgr", "n°", "Ste", "St")
_OF_A_WIKI: Mapping[str, Mapping[str, _Renderer]] = {
    "fr": {"citation": _in_quotes, **{title.lower(): partial(_titled, title) for title in _TITLES}},
    "it": {"m": _measure},
}
"""Templates that mean something else, or nothing, in other wikis."""
_SHIPS = ("USS", "HMS", "HMAS", "SS", "RMS", "MS", "USNS", "SMS")
_TABLE: dict[str, _Renderer] = {
    **{name: renderer for names, renderer in _BY_NAMES for name in names.split("|") if name},
    **{name.lower(): partial(_ship, name) for name in _SHIPS},
}
