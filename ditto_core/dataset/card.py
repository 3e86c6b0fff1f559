"""The dataset's card: README.md with the YAML header that hubs read.

Input:   example shards, the account of the stages, settings, the digest of the rows.
Output:  lines of Markdown: what it is, statistics as in the paper's table 1, yields by stage, filters with their thresholds
         and an example each, settings, limits, attribution.
Source:  arXiv 2401.12474, table 1; the hub's dataset card format.

Example: "| train | 3902 | 7086 | 36164 | 18120 | 18044 |"

Lines are made one after another and the shards are read group by group, so a large dataset needs no more memory than a small.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ditto_core.dataset import summary
from ditto_core.dataset.filters import THRESHOLDS
from ditto_core.dataset.summary import Counts, Summary, quantile
from ditto_core.ledger import Ledger
from ditto_core.shards import ShardRef, ShardStore

_ATTRIBUTED = ["title", "revision", "url", "licence"]
_HUB_LICENCES = {"CC0 1.0": "cc0-1.0", "CC BY-SA 4.0": "cc-by-sa-4.0", "CC BY-SA 3.0": "cc-by-sa-3.0"}
_SIZES = [(10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M")]
# Who ran it and where says nothing about the rows, and a card is made to be published.
_PRIVATE = frozenset({"contact", "base_url", "replicas"})
_SHOWN = 160
"""Characters of a rejected row in the card; `rejected.parquet` has all of it."""
_KIND_COLUMNS = "roles | sessions | turns | role-specific | contrastive"


Kept = Mapping[tuple[str, str], str]
"""Stage and reason -> the text of the first row that was lost so."""


@dataclass(frozen=True, slots=True)
class Account:
    """What became of every input: the ledgers by stage, first stage first, and an example of each loss."""

    ledgers: Mapping[str, Ledger]
    kept: Kept


def in_words(ledgers: Mapping[str, Ledger]) -> str:
    """The losses of each stage in one line."""
    return "; ".join(
        f"{stage}: {ledger.inputs} in, {ledger.ok} ok, failed {ledger.failed or 0}, filtered {ledger.filtered or 0}"
        for stage, ledger in ledgers.items()
    )


def lines(
    store: ShardStore,
    shards: Sequence[ShardRef],
    rows: Mapping[str, int],
    account: Account,
    settings: Mapping[str, Any],
    digest: str,
) -> Iterator[str]:
    """The whole card, line by line.

    Args:
        rows: Split -> number of rows, all splits in their order.
        settings: As plain data; what names the user or their servers is left out.
        digest: Of the rows.
    """
    counted = Summary()
    for ref in shards:
        for table in store.tables(ref, summary.COLUMNS):
            counted.add(table.to_pylist())
    yield from _header(counted, rows)
    yield from [
        "",
        "# Role-play dialogues by self-alignment",
        "",
        "Conversations in which a character answers questions from its own world and turns away those from another's. "
        "A seed LLM wrote both sides with the character's profile before it; the profile is not part of the rows. "
        "Method: Lu et al. 2024, arXiv 2401.12474. Made by Ditto.",
        "",
        f"Digest of the rows: `{digest}`",
        "",
    ]
    yield from _statistics(counted, rows)
    yield from _yields(account.ledgers)
    yield from _filters(account, settings.get("dataset", {}))
    yield from [
        "## Settings",
        "",
        "```json",
        json.dumps(_public(settings), indent=1, sort_keys=True, ensure_ascii=False),
        "```",
        "",
    ]
    yield from [
        "## Limits",
        "",
        "The answers are a model's and may be wrong. Questions count as outside a role's knowledge because they were "
        "written about a character that shares no fact with it; some can be answered all the same.",
        "",
    ]
    yield from _attribution(store, shards)


def _header(counted: Summary, rows: Mapping[str, int]) -> list[str]:
    header = ["---", "pretty_name: Ditto role-play dialogues", f"license: {_licence(counted)}", "language:"]
    header += [f"- {code}" for code in sorted(counted.by_language)]
    header += ["task_categories:", "- text-generation", "size_categories:", f"- {_size(counted.sessions)}"]
    header += ["configs:", "- config_name: default", "  data_files:"]
    filled = [split for split, number in rows.items() if number]  # `datasets` refuses a split without rows
    header += [line for split in filled for line in (f"  - split: {split}", f"    path: {split}.parquet")]
    return [*header, "---"]


def _licence(counted: Summary) -> str:
    """The hub's name of the licence of the articles, or "other" if they have several or one that the hub has no name for."""
    return _HUB_LICENCES.get(next(iter(counted.licences)), "other") if len(counted.licences) == 1 else "other"


def _size(sessions: int) -> str:
    return next((name for limit, name in _SIZES if sessions < limit), "n>10M")


def _public(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _public(part) for key, part in value.items() if key not in _PRIVATE}
    return [_public(part) for part in value] if isinstance(value, list | tuple) else value


def _statistics(counted: Summary, rows: Mapping[str, int]) -> list[str]:
    by_split = [_row(split, counted.by_split.get(split, Counts())) for split in rows]
    by_language = [_row(code, counts) for code, counts in sorted(counted.by_language.items())]
    lengths = [line for code, counts in sorted(counted.by_language.items()) for line in _lengths(code, counts)]
    return [
        "## Statistics",
        "",
        f"| split | {_KIND_COLUMNS} |",
        "|---|---|---|---|---|---|",
        *by_split,
        "",
        f"| language | {_KIND_COLUMNS} |",
        "|---|---|---|---|---|---|",
        *by_language,
        "",
        "| language | length of | mean | 5 % up to | half up to | 95 % up to | longest |",
        "|---|---|---|---|---|---|---|",
        *lengths,
        "",
    ]


def _row(name: str, counts: Counts) -> str:
    numbers = (len(counts.roles), counts.sessions, counts.turns, counts.role_specific, counts.contrastive)
    return f"| {name} | {' | '.join(map(str, numbers))} |"


def _lengths(code: str, counts: Counts) -> Iterator[str]:
    measured = {
        "a question, in characters": counts.questions,
        "an answer, in characters": counts.answers,
        "a session, in turns": counts.session_turns,
    }
    for what, lengths in measured.items():
        mean = sum(length * number for length, number in lengths.items()) / max(1, lengths.total())
        quantiles = " | ".join(str(quantile(lengths, share)) for share in (0.05, 0.5, 0.95, 1.0))
        yield f"| {code} | {what} | {mean:.1f} | {quantiles} |"


def _yields(ledgers: Mapping[str, Ledger]) -> list[str]:
    table = ["## Yields", "", "| stage | inputs | ok | failed | filtered |", "|---|---|---|---|---|"]
    for stage, ledger in ledgers.items():
        failed = ", ".join(f"{reason} {number}" for reason, number in ledger.failed.items()) or "0"
        filtered = ", ".join(f"{reason} {number}" for reason, number in ledger.filtered.items()) or "0"
        table.append(f"| {stage} | {ledger.inputs} | {ledger.ok} | {failed} | {filtered} |")
    return [*table, "", "Every lost row is in `rejected.parquet`, with its reason and raw text.", ""]


def _filters(account: Account, settings: Mapping[str, Any]) -> Iterator[str]:
    """What the dataset's own filters left out, in the order of the code, and one row of each to look at."""
    filtered = account.ledgers["examples"].filtered if "examples" in account.ledgers else {}
    yield from ["## Filters", "", "| filter | threshold | turns | for example |", "|---|---|---|---|"]
    for name, fields in THRESHOLDS.items():
        threshold = ", ".join(f"{field} = {settings[field]}" for field in fields if field in settings)
        example = account.kept.get(("examples", name), "")
        yield f"| {name} | {threshold} | {filtered.get(name, 0)} | {_cell(example)} |"
    yield ""


def _cell(text: str) -> str:
    """The beginning of a text that may stand in a table."""
    plain = " ".join(text.split())
    return _escaped(plain[:_SHOWN] + ("…" if len(plain) > _SHOWN else "")).replace("|", "\\|")


def _attribution(store: ShardStore, shards: Sequence[ShardRef]) -> Iterator[str]:
    """The article of each role; a role's sessions follow each other, so the last article is all that must be remembered."""
    yield from ["## Attribution", "", "Facts: Wikidata, CC0. Articles that the seed LLM read:", ""]
    for ref in shards:
        last = None
        for table in store.tables(ref, _ATTRIBUTED):
            for row in table.to_pylist():
                if row != last and row["url"]:
                    title, revision, url, licence = (row[name] for name in _ATTRIBUTED)
                    yield f"- [{_escaped(title)}](<{url}>), revision {revision}, {licence}"
                last = row
    yield ""


def _escaped(title: str) -> str:
    return re.sub(r"([\\\[\]*_`<>])", r"\\\1", title)
