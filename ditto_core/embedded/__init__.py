"""The little world that ships with Ditto: 100 characters, their articles, and two seed LLMs that know them.

A toy that makes the whole loop real on a laptop; no stand-in for the paper's numbers.
"""

from pathlib import Path

SEEDS = {"embedded": "seed", "embedded-small": "seed-small"}
"""Name in the settings -> folder."""

_FOLDER = Path(__file__).parent


def seed_folder(name: str = "embedded") -> Path:
    """Folder of a seed LLM, as `save_pretrained` wrote it."""
    return _FOLDER / SEEDS[name]


def world_rdf() -> Path:
    """The characters' facts as RDF (Turtle), in Wikidata's shape."""
    return _FOLDER / "world.ttl"


def world_export() -> Path:
    """The characters' articles as a MediaWiki XML export."""
    return _FOLDER / "articles.xml"
