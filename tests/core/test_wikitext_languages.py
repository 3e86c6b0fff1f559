"""Wikitext of many wikis: traps that real pages set, in texts written for the purpose."""

from dataclasses import replace

import pytest

from ditto_core import languages
from ditto_core.knowledge.wikitext import prose
from ditto_core.languages import Language

ENGLISH, CHINESE, KOREAN = (languages.load(code) for code in ("en", "zh", "ko"))
TAIWAN = replace(CHINESE, label_fallbacks=("zh-hant", "zh-tw"))
JAPANESE = replace(ENGLISH, code="ja", wiki="ja")  # languages without a folder of their own
FRENCH = replace(ENGLISH, code="fr", wiki="fr")
OTHER = replace(ENGLISH, code="xx", wiki="xx")


def read(wikitext: str, language: Language) -> list[str]:
    """Sections as "heading: text", a line end as " / "."""
    sections, _ = prose(wikitext, language)
    return [(f"{s.heading}: " if s.heading else "") + s.text.replace("\n", " / ") for s in sections]


@pytest.mark.parametrize(
    ("language", "wikitext", "expected"),
    [
        pytest.param(
            ENGLISH,
            ":''This article is about the poet. For the ship, see [[HMS Ada]].''\n{{short description|x}}\n'''Ada''' "
            "({{IPAc-en|x}}; née '''Byron'''; {{lang-el|Άντα|Ada}}; {{born|1815}}) was {{cvt|5|ft|6|in|cm}} tall"
            "{{efn|no}}.{{cn}}",
            ["Ada (née Byron; Άντα; b. 1815) was 5 ft 6 in tall."],
            id="en-hatnote-and-lead",
        ),
        pytest.param(
            ENGLISH,
            '{| class="infobox"\n|-\n| {| nested\n| x\n|}\n|}\nAda wrote<ref>{{cite|title=<nowiki>[[x]]</nowiki>}}</ref>.[1]\n'
            "<ref name=a />[[Image:a.png|thumb|A [[b|c]] d {{small|e}}<ref>f</ref>]]Text.\n« [[Prev]] | [[Next]] »",
            ["Ada wrote. / Text."],
            id="en-nested-tables-captions-navigation",
        ),
        pytest.param(
            ENGLISH,
            "'''Wukong''' ({{zh|t=悟空|p=Wùkōng}}; {{Korean|hangul=오공}}) met {{ill|Tang|zh|唐}} and {{sup|2}}{{sub|3}}.",
            ["Wukong (悟空; Wùkōng; 오공) met Tang and 23."],
            id="en-names-in-other-scripts",
        ),
        pytest.param(
            CHINESE,
            "{{NoteTA|G1=P}}'''鲁迅'''（{{bd|1881年|9月25日|1936年|10月19日}}，{{lang-en|Lu}}）"
            "用-{zh-hans:计算机; zh-hant:電腦}-和"
            "-{A|zh-cn:软件;zh-tw:軟體}-。-{H|zh-cn:网络;zh-tw:網路}-他-{zh-cn:{{lang|en|T}}来; zh-tw:來}-，-{R|原文}-，-{臺}-。",
            ["鲁迅（1881年9月25日－1936年10月19日，Lu）用计算机和软件。他T来，原文，臺。"],
            id="zh-life-and-variants",
        ),
        pytest.param(TAIWAN, "用-{zh-hans:计算机; zh-hant:電腦}-。", ["用電腦。"], id="zh-another-variant"),
        pytest.param(
            CHINESE,
            "他是{{le|甲|A}}和{{link-en|乙|B}}、{{tsl|en|C|丙}}的{{USA}}朋友{{fact|time=x}}。[[檔案:a.jpg|缩略图|x]][[分类:人]]\n"
            "== 參考文獻 ==\n{{reflist}}x。\n== 生平 ==\n{{main|x}}生。",
            ["他是甲和乙、丙的美国朋友。", "生平: 生。"],
            id="zh-links-and-namespaces",
        ),
        pytest.param(
            JAPANESE,
            "{{基礎情報 作家|n=x}}\n{{読み仮名|'''夏目 漱石'''|なつめ そうせき|[[1867年]] - [[1916年]]}}は、"
            "{{JPN}}の{{仮リンク|作家|en|W}}。{{R|a}}{{Sfn|b|1}}{{efn|注}}本名は{{ruby|金之助|きんのすけ}}。"
            "{{要出典|猫が好きだった|date=x}}。\n[[ファイル:a.jpg|サムネイル|x]]\n"
            "== 脚注 ==\n{{Reflist}}",
            ["夏目 漱石（なつめ そうせき、1867年 - 1916年）は、日本の作家。本名は金之助。猫が好きだった。"],
            id="ja-readings-and-notes",
        ),
        pytest.param(
            KOREAN,
            "{{인물 정보|이름=x}}\n'''이황'''({{한자|李滉}}, {{출생일|1502|1|3}} ~ {{사망일|1571|1|3}})은 "
            "학자({{llang|en|scholar}})이다.<ref>x</ref>"
            " [[파일:a.jpg|섬네일|설명]]\n== 각주 ==\n{{각주}}x.\n== 생애 ==\n{{인용문|나의 소원.}}[[분류:사람]]",
            ["이황(李滉, 1502년 1월 3일 ~ 1571년 1월 3일)은 학자(scholar)이다.", "생애: 나의 소원."],
            id="ko-dates-and-scripts",
        ),
        pytest.param(
            OTHER,
            "'''Ada''' (* [[10. Dezember]] [[1815]] in [[London]]; † [[1852]]; {{enS|Ada}}, {{IPA|x}}) "
            'war klug.{{"|Zitat.}}\n'
            "[[Datei:a.jpg|mini|hochkant|Ada]]\n{{Hauptartikel|X}}\n== Leben ==\n{{Anker|x}}Sie lebte in {{nowrap|z. B. London}}."
            "\n== Einzelnachweise ==\n<references />\n{{Normdaten|TYP=p}}{{SORTIERUNG:A}}"
            "\n[[Kategorie:Frau]]\n{{Personendaten|NAME=x}}",
            ["Ada (* 10. Dezember 1815 in London; † 1852; Ada) war klug.„Zitat.“", "Leben: Sie lebte in z. B. London."],
            id="de-birth-and-authority",
        ),
        pytest.param(
            OTHER,
            "'''Jean''', né le {{date de naissance|1|mai|1769}} au {{s|XVIII}}, haut de {{unité|1.80|m}}, "
            "voit le {{XIXe siècle}}."
            "[[Fichier:a.jpg|vignette|x]]\n== Notes et références ==\n{{Références}}\n[[Catégorie:x]]",
            ["Jean, né le 1 mai 1769 au XVIIIe siècle, haut de 1.80 m, voit le XIXe siècle."],
            id="fr-dates-and-centuries",
        ),
        pytest.param(
            FRENCH,
            "'''Victor''', né le {{date-|26 février 1802|en littérature}}, mort le {{Date de décès-|22 mai 1885}} au {{s-|XIX}}, "
            "dit {{citation|grand homme}} par {{Mme|Drouet}}, pesait {{unité|70,5|kg}}{{sfn|Hugo|1802|p=3}} ; il écrit "
            "{{langue|en|light}}. Il a dit :\n== Voir aussi ==\nx",
            [
                "Victor, né le 26 février 1802, mort le 22 mai 1885 au XIXe siècle, dit « grand homme » par Mme Drouet, "
                "pesait 70,5 kg; il écrit light."
            ],
            id="fr-quotes-titles-and-a-colon-without-its-list",
        ),
        pytest.param(
            OTHER,
            "{{Писатель\n|Имя = x\n}}\n'''Лев''' ({{ДР|28|8|1828}}, [[Тула]] — {{ДС|20|11|1910}}; {{lang-en|Leo}}) — "
            "{{comment|граф|титул}}, {{нп3|друг||en|Friend}}, {{num|5|км}} от {{s|г. Тула}}.\n[[Файл:a.jpg|мини|Подпись]]\n"
            "== Примечания ==\n{{примечания}}x",
            ["Лев (28 August 1828, Тула — 20 November 1910; Leo) — граф, друг, 5 км от г. Тула."],
            id="ru-dates-and-words",
        ),
        pytest.param(
            OTHER,
            "'''أحمد''' ({{إنج|Ahmad}}، ولد {{تاريخ الميلاد|1879|3|14}}) كاتب.{{مرجع}} قال: {{اقتباس|الحياة جميلة.}}"
            "[[ملف:a.jpg|تصغير|شرح]]\n== المصادر ==\nx\n[[تصنيف:كتاب]]",
            ["أحمد (Ahmad، ولد 14 March 1879) كاتب. قال: / الحياة جميلة."],
            id="ar-dates-and-quotation",
        ),
        pytest.param(
            OTHER,
            "'''राम''' ({{lang-en|Ram}}; जन्म: {{जन्म तिथि|1900|8|15}}) लेखक थे।\n* उन्होंने एक पुस्तक लिखी।\n"
            "== सन्दर्भ ==\n{{टिप्पणीसूची}}x\n== बाहरी कड़ियाँ ==\nx[[श्रेणी:लेखक]]",
            ["राम (Ram; जन्म: 15 August 1900) लेखक थे। / उन्होंने एक पुस्तक लिखी।"],
            id="hi-sentences-in-lists",
        ),
        pytest.param(
            OTHER,
            "'''Maria'''{{r|a}} ({{ang.|Mary}}, {{w języku|fr|Marie}}; ur. [[7 listopada]] [[1867]], zm. {{data|1934-07-04}}) – "
            "uczona{{odn|x|1}}{{fakt}}. [[Plik:a.jpg|mały|Opis]]\n== Przypisy ==\nx\n[[Kategoria:x]]",
            ["Maria (Mary, Marie; ur. 7 listopada 1867, zm. 4 July 1934) – uczona."],
            id="pl-names-and-dates",
        ),
        pytest.param(
            OTHER,
            "'''Miguel''' ([[Alcalá]], {{fecha|29|9|1547}}-{{fecha de fallecimiento|22|4|1616}}), del {{siglo|XVI||s}} y el "
            "siglo {{versalita|XVII}}.{{cita requerida}} [[Archivo:a.jpg|miniatura|Pie]]\n== Véase también ==\nx",
            ["Miguel (Alcalá, 29 September 1547-22 April 1616), del siglo XVI y el siglo XVII."],
            id="es-dates-and-centuries",
        ),
        pytest.param(
            OTHER,
            "'''Nguyễn''' ({{ngày sinh|1765|1|3}} – {{ngày mất|1820|9|16}}), '''Orhan''' ({{doğum tarihi|1952|6|7}}), "
            "{{formatnum:12345}}.{{cần dẫn nguồn}}[[Tập tin:a.jpg|nhỏ|x]][[Dosya:a.jpg|sağ|x]]\n"
            "== Tham khảo ==\nx\n== Kaynakça ==\nx",
            ["Nguyễn (3 January 1765 – 16 September 1820), Orhan (7 June 1952), 12345."],
            id="vi-tr-dates",
        ),
        pytest.param(
            ENGLISH,
            "__NOTOC__'''{{nihongo|Rei|例|Rei|born 5 January 1941}}''' ({{zh|s=李|t=李|p=Lǐ}}) saw {{ill|Foo|de|Bar|lt=the foo}} "
            "in {{font color|red|red}}. Dr. Smith spoke. He named:\n* one\n* two\n",
            ["Rei (例, Rei, born 5 January 1941) (李; Lǐ) saw the foo in red. Dr. Smith spoke."],
            id="en-a-list-that-a-paragraph-announces",
        ),
        pytest.param(
            OTHER,
            "{{Bio|Nome=Dante|Cognome=Alighieri|Sesso=M|LuogoNascita=Firenze|AnnoNascita=1265|LuogoMorte=Ravenna|"
            "GiornoMeseMorte=14 settembre|AnnoMorte=1321|Attività=poeta|Nazionalità=italiano}}\nScrisse.",
            ["Dante Alighieri (Firenze, 1265 – Ravenna, 14 settembre 1321) è stato un poeta italiano. / Scrisse."],
            id="it-a-template-writes-the-lead",
        ),
        pytest.param(
            OTHER,
            "'''Лев''' ({{ДР|9|9|1828}} — {{ДС|20|11|1910}}) — {{nobr|писатель}}{{sfn|X}}. "
            "{{нп5|Имя|Имя|en|N}}.[[Файл:a.jpg|мини|x]]"
            "\n== Примечания ==\n{{примечания}}\n[[Категория:x]]",
            ["Лев (9 September 1828 — 20 November 1910) — писатель. Имя."],
            id="ru-dates-and-links",
        ),
    ],
)
def test_what_a_reader_sees_stays_and_nothing_else(language: Language, wikitext: str, expected: list[str]) -> None:
    assert read(wikitext, language) == expected


@pytest.mark.parametrize("inside", ["{{a|(}}", "", " ; , ", "{{IPA|x}} – ", "* {{x}}; † ", " or ", "、{{x}}；"], ids=range(7))
def test_brackets_without_words_vanish(inside: str) -> None:
    assert read(f"Ada ({inside}) wrote.", ENGLISH) == ["Ada wrote."]
    assert read(f"阿达（{inside}）写。", CHINESE) == ["阿达写。"]
