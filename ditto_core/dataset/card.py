"""The dataset's card: README.md with the YAML header that hubs read.

Input:   example shards, the ledgers of the stages, settings, the digest of the rows.
Output:  lines of Markdown: what it is, statistics as in the paper's table 1, yields by stage, settings, limits, attribution.
Source:  arXiv 2401.12474, table 1; the hub's dataset card format.

Example: "| train | 3902 | 7086 | 36164 | 18120 | 18044 |"

Lines are made one after another and the shards are read one at a time, so a large dataset needs no more memory than a small.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ditto_core.dataset import summary
from ditto_core.dataset.summary import Counts, Summary
from ditto_core.ledger import Ledger
from ditto_core.shards import ShardRef, ShardStore

_ATTRIBUTED = ["title", "revision", "url", "licence"]
_HUB_LICENCES = {"CC0 1.0": "cc0-1.0", "CC BY-SA 4.0": "cc-by-sa-4.0", "CC BY-SA 3.0": "cc-by-sa-3.0"}
_SIZES = [(10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M")]
# Who ran it and where says nothing about the rows, and a card is made to be published.
_PRIVATE = frozenset({"contact", "base_url"})
_KIND_COLUMNS = "roles | sessions | turns | role-specific | contrastive"


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
    ledgers: Mapping[str, Ledger],
    settings: Mapping[str, Any],
    digest: str,
) -> Iterator[str]:
    """The whole card, line by line.

    Args:
        rows: Split -> number of rows, all splits in their order.
        ledgers: Stage -> account, first stage first.
        settings: As plain data; what names the user or their servers is left out.
        digest: Of the rows.
    """
    counted = Summary()
    for ref in shards:
        counted.add(store.read_table(ref, summary.COLUMNS).to_pylist())
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
    yield from _yields(ledgers)
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
    return value


def _statistics(counted: Summary, rows: Mapping[str, int]) -> list[str]:
    by_split = [_row(split, counted.by_split.get(split, Counts())) for split in rows]
    by_language = [_row(code, counts) + _lengths(counts) for code, counts in sorted(counted.by_language.items())]
    return [
        "## Statistics",
        "",
        f"| split | {_KIND_COLUMNS} |",
        "|---|---|---|---|---|---|",
        *by_split,
        "",
        f"| language | {_KIND_COLUMNS} | characters per question | characters per answer |",
        "|---|---|---|---|---|---|---|---|",
        *by_language,
        "",
    ]


def _row(name: str, counts: Counts) -> str:
    numbers = (len(counts.roles), counts.sessions, counts.turns, counts.role_specific, counts.contrastive)
    return f"| {name} | {' | '.join(map(str, numbers))} |"


def _lengths(counts: Counts) -> str:
    per_turn = (counts.question_characters / counts.turns, counts.answer_characters / counts.turns)
    return "".join(f" {length:.1f} |" for length in per_turn)


def _yields(ledgers: Mapping[str, Ledger]) -> list[str]:
    table = ["## Yields", "", "| stage | inputs | ok | failed | filtered |", "|---|---|---|---|---|"]
    for stage, ledger in ledgers.items():
        failed = ", ".join(f"{reason} {number}" for reason, number in ledger.failed.items()) or "0"
        filtered = ", ".join(f"{reason} {number}" for reason, number in ledger.filtered.items()) or "0"
        table.append(f"| {stage} | {ledger.inputs} | {ledger.ok} | {failed} | {filtered} |")
    return [*table, "", "Every lost row is in `rejected.parquet`, with its reason and raw text.", ""]


def _attribution(store: ShardStore, shards: Sequence[ShardRef]) -> Iterator[str]:
    """Every article once: all sessions of a role are in one shard, so no article comes back in a later one."""
    yield from ["## Attribution", "", "Facts: Wikidata, CC0. Articles that the seed LLM read:", ""]
    for ref in shards:
        table = store.read_table(ref, _ATTRIBUTED).to_pylist()
        for title, revision, url, licence in sorted({tuple(row[name] for name in _ATTRIBUTED) for row in table}):
            yield f"- [{_escaped(title)}](<{url}>), revision {revision}, {licence}"
    yield ""


def _escaped(title: str) -> str:
    return re.sub(r"([\\\[\]*_`<>])", r"\\\1", title)
