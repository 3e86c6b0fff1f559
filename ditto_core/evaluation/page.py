"""Page: the frame of every report, as one HTML file that needs nothing else.

Input:   a title and parts that are HTML already.
Output:  a document with its style inside, no script, nothing from outside; readable on a phone, light and dark.

Example: page("Ditto", ["<h1>Ditto</h1>"]) -> '<!doctype html>...'
"""

from collections.abc import Mapping, Sequence
from html import escape

_STYLE = """
:root{color-scheme:light dark;--ground:#fff;--ink:#1d232b;--soft:#59636e;--line:#d5dae0;--card:#f5f7f9;
--c0:#8a94a0;--c1:#1f6feb;--c2:#bf5700;--c3:#1a7f37;--c4:#8250df;--c5:#bf3989}
@media(prefers-color-scheme:dark){:root{--ground:#14181d;--ink:#e4e8ec;--soft:#9aa4af;--line:#333b44;--card:#1c2229;
--c0:#7d8794;--c1:#58a6ff;--c2:#f0883e;--c3:#3fb950;--c4:#a371f7;--c5:#f778ba}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:62rem;padding:1rem;background:var(--ground);color:var(--ink);
font:16px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.6rem;line-height:1.2}h2{font-size:1.2rem;margin-top:2rem}h3{font-size:1rem}
p,dd,li{max-width:44rem}.soft{color:var(--soft)}.warn{border-left:4px solid #d29922;padding-left:.7rem}
.scroll{overflow-x:auto}table{border-collapse:collapse;overflow-wrap:normal;font-variant-numeric:tabular-nums}
th,td{text-align:left;vertical-align:top;padding:.35rem .7rem .35rem 0;border-bottom:1px solid var(--line)}
td small,th small{color:var(--soft);display:block;font-weight:400}
tr.published td{color:var(--soft);font-style:italic}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem}dt{color:var(--soft)}dd{margin:0}
details{content-visibility:auto;contain-intrinsic-height:auto 2.5rem}
details{border:1px solid var(--line);border-radius:.4rem;margin:.5rem 0;padding:.4rem .8rem}
summary{cursor:pointer}.sides{display:grid;grid-template-columns:repeat(auto-fit,minmax(14rem,1fr));gap:.8rem}
.said{background:var(--card);border-radius:.4rem;padding:.5rem .7rem;margin:.3rem 0;white-space:pre-wrap}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(17rem,1fr));gap:1rem}
svg{width:100%;height:auto;max-width:36rem;display:block}svg text{fill:var(--ink);font:13px system-ui,sans-serif}
.s0{fill:var(--c0)}.s1{fill:var(--c1)}.s2{fill:var(--c2)}.s3{fill:var(--c3)}.s4{fill:var(--c4)}.s5{fill:var(--c5)}
.whisker{stroke:var(--ink);stroke-width:1.5}.axis{stroke:var(--line);fill:none}.curve{stroke:var(--c1);stroke-width:2;fill:none}
.diagonal{stroke:var(--soft);stroke-dasharray:5 4;fill:none}
@media(max-width:40rem){dl{grid-template-columns:1fr}dd{margin-bottom:.4rem}th,td{padding-right:.5rem;font-size:.9rem}}
"""


def page(title: str, parts: Sequence[str]) -> str:
    """The document; empty parts are left out."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n<h1>{escape(title)}</h1>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body></html>\n"
    )


def picture(drawing: str) -> str:
    """A drawing of `charts` as an SVG file of its own, in the same colours, on the page's ground."""
    opened, rest = drawing.split(">", 1)
    style = f"<style>{_STYLE}svg{{background:var(--ground)}}</style>"
    return f'{opened} xmlns="http://www.w3.org/2000/svg">{style}{rest}'


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], row_classes: Sequence[str] = ()) -> str:
    """A table of cells that are HTML already; the heads are plain text."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in heads)
    classes = [*row_classes, *[""] * (len(rows) - len(row_classes))]
    body = "".join(_row(row, name) for row, name in zip(rows, classes, strict=True))
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def facts(heading: str, named: Mapping[str, str]) -> str:
    """A list of names and values, both plain text; "" if there are none."""
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in named.items())
    return f"<h2>{escape(heading)}</h2>\n<dl>{rows}</dl>" if rows else ""


def warnings(notes: Sequence[str]) -> str:
    """Notes that a reader must not miss."""
    return "\n".join(f'<p class="warn">{escape(note)}.</p>' for note in notes)


def _row(cells: Sequence[str], name: str) -> str:
    opened = f'<tr class="{name}">' if name else "<tr>"
    return f"{opened}{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
