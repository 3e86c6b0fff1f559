"""Variants: one form of each word, as MediaWiki shows it; each row but the marked ones was compared with MediaWiki 1.39."""

import pytest

from ditto_core.knowledge.variants import resolved

RULES = [
    # wikitext, what zh-cn reads, what zh-hk reads
    pytest.param("a-{zh-hans:simp; zh-hant:trad}-b", "asimpb", "atradb", id="nearest"),
    pytest.param("x -{zh-hans:a; zh-hant:b;}- y", "x a y", "x b y", id="semicolon-at-the-end"),
    pytest.param("-{zh-cn:a&amp;b;zh-tw:c&amp;d}-", "a&amp;b", "c&amp;d", id="entity"),
    pytest.param("-{foo:bar; x}-", "foo:bar; x", "foo:bar; x", id="no-rule"),
    pytest.param("-{A|zh-cn:soft;zh-tw:SOFT}- and SOFT soft", "soft and soft soft", "SOFT and SOFT SOFT", id="show-and-convert"),
    pytest.param("SOFT -{H|zh-cn:soft;zh-tw:SOFT}-SOFT soft", "SOFT soft soft", "SOFT SOFT SOFT", id="from-there-on"),
    pytest.param("-{H|zh-cn:soft;zh-tw:SOFT}--{SOFT}- SOFT", "SOFT soft", "SOFT SOFT", id="as-it-is"),
    pytest.param("-{H|zh-cn:s;zh-tw:S}-S-{-|zh-cn:s;zh-tw:S}-S", "sS", "SS", id="taken-back"),
    pytest.param("-{H|zh-hans:one;zh-hant:ONE}--{H|zh-cn:1s;zh-tw:ONES}-ONES ONE", "1s one", "ONES ONE", id="longest-first"),
    pytest.param("-{H|MAC=>zh-cn:WIN}-MAC MACRO WIN", "WIN WINRO WIN", "MAC MACRO WIN", id="one-way"),
    pytest.param("-{A|plain}- -{H|zh-cn:P;zh-tw:pla}-plain pla", "plain plain P", "plain plain pla", id="a-word-left-alone"),
    pytest.param("-{R|zh-cn:a;zh-tw:b}-", "zh-cn:a;zh-tw:b", "zh-cn:a;zh-tw:b", id="raw"),
    pytest.param("-{zh-tw;zh-hk|text}-", "text", "text", id="variants-as-flags"),
    pytest.param("-{N|zh-tw}-", "臺灣", "臺灣", id="name"),
    pytest.param("-{D|zh-cn:a;zh-tw:b}-", "大陆：a；臺灣：b；", "大陆：a；臺灣：b；", id="description"),
    pytest.param("-{T|zh-cn:a;zh-tw:b}-x", "x", "x", id="title"),
    pytest.param("-{zh-cn:a -{zh-hans:in;zh-hant:IN}- b;zh-tw:c}-", "a in b", "c", id="nested"),
    pytest.param("-{zh-tw:b}- -{MAC=>zh-cn:WIN}-", "b WIN", "b WIN", id="any-form-where-mediawiki-shows-an-error"),
    pytest.param("a\ufdd2b -{zh-cn:s;zh-tw:S}-\ufdd0", "ab s", "ab S", id="marks-of-ours-in-the-page"),
    pytest.param("-{never closed", "never closed", "never closed", id="unclosed-without-its-mark"),
    pytest.param("{{NoteTA|G1=IT|T=x|1=zh-cn:s;zh-tw:S|M=>zh-hk:W}}S M", "s M", "S W", id="note-not-in-mediawiki-itself"),
    pytest.param("<!-- -{zh-cn:s;zh-tw:S}- -->", "<!-- -{zh-cn:s;zh-tw:S}- -->", "<!-- -{zh-cn:s;zh-tw:S}- -->", id="comment"),
    pytest.param("-{zh-cn:{{lang|en|T}}-x;zh-tw:y}- a-{{b}}", "{{lang|en|T}}-x a-{{b}}", "y a-{{b}}", id="templates"),
]  # fmt: skip


@pytest.mark.parametrize(("wikitext", "mainland", "hong_kong"), RULES)
def test_a_reader_sees_the_forms_of_the_own_variant(wikitext: str, mainland: str, hong_kong: str) -> None:
    for variant, expected in (("zh-cn", mainland), ("zh-hk", hong_kong)):
        text, convert = resolved(wikitext, variant)
        assert convert(text) == expected


def test_a_conversion_goes_on_from_piece_to_piece() -> None:
    text, convert = resolved("S-{H|zh-cn:s;zh-tw:S}-S|S", "zh-cn")
    assert [convert(piece) for piece in text.split("|")] == ["Ss", "s"]
