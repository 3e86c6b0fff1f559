"""The dataset's card: README.md with the YAML header that hubs read.

Input:   example shards, the ledgers of the stages, settings, the digest of the rows.
Output:  Markdown: what it is, statistics as in the paper's table 1, yields by stage, settings, attribution, limits.
Source:  arXiv 2401.12474, table 1; the hub's dataset card format.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ditto_core.ledger import Ledger
from ditto_core.shards import ShardRef, ShardStore

_COLUMNS = ["split", "role", "language", "label", "kinds", "title", "revision", "url", "licence"]


def in_words(ledgers: Mapping[str, Ledger]) -> str:
    """The losses of each stage in one line."""
    return "; ".join(
        f"{stage}: {ledger.inputs} in, {ledger.ok} ok, failed {ledger.failed or 0}, filtered {ledger.filtered or 0}"
        for stage, ledger in ledgers.items()
    )


def render(
    store: ShardStore,
    shards: Sequence[ShardRef],
    rows: Mapping[str, int],
    ledgers: Mapping[str, Ledger],
    settings: Mapping[str, Any],
    digest: str,
) -> str:
    """The whole card."""
    examples = [row for ref in shards for row in store.read_table(ref, _COLUMNS).to_pylist()]
    languages = sorted({row["language"] for row in examples})
    header = ["---", "pretty_name: Ditto role-play dialogues", "language:", *(f"- {code}" for code in languages)]
    header += ["task_categories:", "- text-generation", "configs:", "- config_name: default", "  data_files:"]
    filled = [split for split, number in rows.items() if number]  # `datasets` refuses a split without rows
    header += [line for split in filled for line in (f"  - split: {split}", f"    path: {split}.parquet")]
    return "\n".join(
        [
            *header,
            "---",
            "",
            "# Role-play dialogues by self-alignment",
            "",
            "Conversations in which a character answers questions from its own world and turns away those from another's. "
            "A seed LLM wrote both sides with the character's profile before it; the profile is not part of the rows. "
            "Method: Lu et al. 2024, arXiv 2401.12474. Made by Ditto.",
            "",
            f"Digest of the rows: `{digest}`",
            "",
            *_statistics(examples, rows),
            *_yields(ledgers),
            "## Settings",
            "",
            "```json",
            json.dumps(settings, indent=1, sort_keys=True, ensure_ascii=False),
            "```",
            "",
            "## Limits",
            "",
            "The answers are a model's and may be wrong. Questions count as outside a role's knowledge because they were "
            "written about a character that shares no fact with it; some can be answered all the same.",
            "",
            *_attribution(examples),
        ]
    )


def _statistics(examples: Sequence[Mapping[str, Any]], rows: Mapping[str, int]) -> list[str]:
    lines = ["## Statistics", "", "| split | roles | sessions | turns | role-specific | contrastive |"]
    lines.append("|---|---|---|---|---|---|")
    for split in rows:
        mine = [row for row in examples if row["split"] == split]
        kinds = Counter(kind for row in mine for kind in row["kinds"])
        roles = len({row["role"] for row in mine})
        lines.append(f"| {split} | {roles} | {len(mine)} | {kinds.total()} | {kinds['role_specific']} | {kinds['contrastive']} |")
    return [*lines, ""]


def _yields(ledgers: Mapping[str, Ledger]) -> list[str]:
    lines = ["## Yields", "", "| stage | inputs | ok | failed | filtered |", "|---|---|---|---|---|"]
    for stage, ledger in ledgers.items():
        failed = ", ".join(f"{reason} {number}" for reason, number in ledger.failed.items()) or "0"
        filtered = ", ".join(f"{reason} {number}" for reason, number in ledger.filtered.items()) or "0"
        lines.append(f"| {stage} | {ledger.inputs} | {ledger.ok} | {failed} | {filtered} |")
    return [*lines, ""]


def _attribution(examples: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = ["## Attribution", "", "Facts: Wikidata, CC0. Articles that the seed LLM read:", ""]
    sources = sorted({(row["title"], row["revision"], row["url"], row["licence"]) for row in examples})
    lines += [f"- [{title}]({url}), revision {revision}, {licence}" for title, revision, url, licence in sources]
    return [*lines, ""]
