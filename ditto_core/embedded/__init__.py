"""The little world that ships with Ditto: 100 characters, their articles, and seed LLMs of two sizes that know them.

A toy that makes the whole loop real on a laptop; no stand-in for the paper's numbers.
"""

from collections.abc import Mapping
from pathlib import Path

_FOLDER = Path(__file__).parent
SEEDS: Mapping[str, Path] = {"embedded": _FOLDER / "seed", "embedded-small": _FOLDER / "seed-small"}
"""Name in the settings -> folder of the seed LLM, as `save_pretrained` wrote it."""


def world_rdf() -> Path:
    """The characters' facts as RDF (Turtle), in Wikidata's shape."""
    return _FOLDER / "world.ttl"


def world_export() -> Path:
    """The characters' articles as a MediaWiki XML export."""
    return _FOLDER / "articles.xml"
