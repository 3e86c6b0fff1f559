"""Wikitext: what a reader sees stays, everything else goes."""

import pytest

from ditto_core import languages
from ditto_core.knowledge.wikitext import prose, title_of
from ditto_core.records import Section

ENGLISH = languages.load("en")


def lead(wikitext: str) -> str:
    sections, _ = prose(wikitext, ENGLISH)
    return sections[0].text if sections else ""


@pytest.mark.parametrize(
    ("wikitext", "expected"),
    [
        pytest.param("'''Ada''' ''wrote''.", "Ada wrote.", id="bold-and-italic"),
        pytest.param("She met [[Charles Babbage|Babbage]].", "She met Babbage.", id="piped-link"),
        pytest.param("a [[child]]ren.", "a children.", id="link-trail"),
        pytest.param("[[File:A.jpg|thumb|A [[cat]] at home]]Ada.", "Ada.", id="caption-with-link"),
        pytest.param("[[Image:A.jpg|alt={{x|y}}|200px]]Ada.", "Ada.", id="image-with-template"),
        pytest.param("Ada.\n[[File:a.jpg|thumb|never closed\nMore.", "Ada.\nMore.", id="unclosed-caption"),
        pytest.param("Ada.[[Category:Poets|Ada]]", "Ada.", id="category"),
        pytest.param("Ada.[[de:Ada]]", "Ada.", id="language-link"),
        pytest.param("See [[:Category:Poets|the poets]].", "See the poets.", id="link-to-a-category"),
        pytest.param("See [[:fr:Ada]].", "See fr:Ada.", id="link-to-another-language"),
        pytest.param("Ada wrote.<!-- a --> Much.<!-- never closed\n[[x]]", "Ada wrote. Much.", id="unclosed-comment"),
        pytest.param("A [[wikt:muse|muse]] sang.", "A muse sang.", id="interwiki"),
        pytest.param("Born<ref name=x>{{cite|a=1}}</ref> here.<ref name=x/>", "Born here.", id="references"),
        pytest.param("Born here.<ref>never closed", "Born here.", id="unclosed-reference"),
        pytest.param("{| class=x\n! a\n|-\n| b\n|}\nAda.", "Ada.", id="table"),
        pytest.param("{{Infobox person\n| name = Ada\n| image = [[File:a.jpg]]\n}}\nAda.", "Ada.", id="infobox"),
        pytest.param("{{Infobox person\n| name = Ada\n| born = 1815\n\nAda.", "Ada.", id="unclosed-infobox"),
        pytest.param("Ada<!-- not [[sure]] --> wrote.", "Ada wrote.", id="comment"),
        pytest.param("__NOTOC__Ada &amp; Co.&nbsp;wrote &#8211; well.", "Ada & Co. wrote – well.", id="entities"),
        pytest.param("<nowiki>[[x]]</nowiki> &amp;lt; is text.", "x &lt; is text.", id="nowiki"),
        pytest.param("<gallery>\nFile:a.jpg|caption\n</gallery>Ada.", "Ada.", id="gallery"),
        pytest.param("<small>Ada</small><br/>wrote<sup>2</sup>.", "Ada wrote2.", id="plain-tags"),
        pytest.param("See [https://a.org her page] or https://b.org now.", "See her page or now.", id="urls"),
        pytest.param("Works:\n* ''One'' (1840)\n* ''Two''\n", "", id="list-of-works"),
        pytest.param(
            "Ada.\n* She wrote a program in 1843.",
            "Ada.\nShe wrote a program in 1843.",
            id="sentence-in-list",
        ),
        pytest.param("He said:\n: To be,\n: or not.\nSo.", "He said:\nTo be,\nor not.\nSo.", id="verse"),
        pytest.param("'''Ada''' ({{IPAc-en|x}}; {{audio|a.ogg}}) wrote.", "Ada wrote.", id="empty-brackets"),
        pytest.param("'''Ada''' ({{IPA|x}}; 1815 – 1852) wrote.", "Ada (1815 – 1852) wrote.", id="half-empty-brackets"),
        pytest.param("'''Ada''' (pronounced {{IPA|x}}; 1815) wrote.", "Ada (1815) wrote.", id="pronunciation"),
        pytest.param("{{quote|To be.|[[Hamlet]]}}\nAda.", "To be.\nAda.", id="quotation"),
        pytest.param("'' swallowed [[x]]\n\n{{Infobox|a=''b}}\nAda.", "swallowed x\nAda.", id="stray-quotes"),
    ],
)
def test_markup_leaves_what_a_reader_sees(wikitext: str, expected: str) -> None:
    assert lead(wikitext) == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{lang|grc|Ἀθηνᾶ}}", "Ἀθηνᾶ"),
        ("{{lang-ru|Анна}}", "Анна"),
        ("{{transliteration|grc|Athēnâ}}", "Athēnâ"),
        ("{{val|5|u=km}}", "5 km"),
        ("{{Circa|1490}}", "c. 1490"),
        ("{{c.|1490|1500}}", "c. 1490–1500"),
        ("{{nihongo|'''Son Goku'''|孫悟空|Son Gokū}}", "Son Goku (孫悟空, Son Gokū)"),
        ("{{OldStyleDate|4 January|1643|25 December 1642}}", "4 January [O.S. 25 December 1642] 1643"),
        ("{{birth date and age|1815|12|10|df=y}}", "10 December 1815"),
        ("{{Birth date|1815|12}}", "December 1815"),
        ("{{birth date|1815}}", "1815"),
        ("{{birth date|1815|²|3}}", "1815 ² 3"),
        ("{{convert|230|acre|ha}}", "230 acres"),
        ("{{convert|5|to|10|km|mi}}", "5 to 10 km"),
        ("{{cvt|6|ft|4|in|cm}}", "6 ft 4 in"),
        ("1815{{snd}}1852", "1815 – 1852"),
        ("10{{nbsp}}km", "10 km"),
        ("{{nowrap|{{small|Ada [[Byron]]}}}}", "Ada Byron"),
        ("{{frac|3|1|2}}", "3 1/2"),
        ("the {{USS|Enterprise|CVN-65}}", "the USS Enterprise"),
        ("a{{unknown thing|text}}b", "ab"),
    ],
)
def test_templates_of_the_table_show_their_content_and_others_vanish(template: str, expected: str) -> None:
    assert lead(f"Ada {template} x.") == f"Ada {expected} x."


def test_sections_keep_their_headings_and_lose_the_skipped_ones_with_all_below() -> None:
    page = (
        "Lead.\n== ''Life'' ==\nBorn.\n=== Youth ===\nYoung.\n"
        "== References ==\nx.\n=== Books ===\ny.\n== Fame ==\nz.\n== Empty ==\n"
    )
    sections, _ = prose(page, ENGLISH)
    assert sections == (
        Section("", "Lead."),
        Section("Life", "Born."),
        Section("Youth", "Young."),
        Section("Fame", "z."),
    )


def test_links_are_titles_of_articles_once_in_order() -> None:
    page = "[[london|here]] [[File:a.jpg|[[Lord_Byron]]]] [[Category:x]] [[de:Ada]] [[Ada#Life|she]] [[London]] [[#Life]]"
    assert prose(page, ENGLISH)[1] == ("London", "Lord Byron", "Ada")


def test_namespaces_of_the_wiki_are_recognised() -> None:
    page = "[[Datei:a.jpg|mini|Bild]]Ada.[[Kategorie:Frau]] [[Datei Nova]]"
    sections, links = prose(page, ENGLISH, {"datei": 6, "kategorie": 14})
    assert sections == (Section("", "Ada. Datei Nova"),)
    assert links == ("Datei Nova",)


@pytest.mark.parametrize(
    ("markup", "expected"),
    [("-{zh-hans:计算机;zh-hant:電腦}-", "计算机"), ("-{電腦}-", "電腦"), ("-{H|zh-cn:a;zh-tw:b}-", "")],
)
def test_variants_of_chinese_wikis_show_one_form(markup: str, expected: str) -> None:
    assert lead(f"她写{markup}了。") == f"她写{expected}了。"


@pytest.mark.parametrize("title", ["Ada Lovelace", "ada_Lovelace", " Ada  Lovelace#Life "])
def test_titles_are_written_as_the_wiki_writes_them(title: str) -> None:
    assert title_of(title) == "Ada Lovelace"


@pytest.mark.parametrize("text", ["", "{{", "[[", "<ref>", "{{{1|}}}", "[[File:a|thumb|[[b]] " * 50, "== ==", "'''"])
def test_broken_markup_is_read_without_an_error(text: str) -> None:
    sections, _ = prose(text, ENGLISH)
    assert all(section.text for section in sections)
