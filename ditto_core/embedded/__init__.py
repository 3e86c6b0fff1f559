"""The little world that ships with Ditto: 100 characters, their articles, and two seed LLMs that know them.

24 of the characters are told of in Chinese and Korean too.
A toy that makes the whole loop real on a laptop; no stand-in for the paper's numbers.
"""

from pathlib import Path

LANGUAGES = ("en", "zh", "ko")
"""Languages of the world, the larger part first."""
SEEDS = {"embedded": "seed", "embedded-small": "seed-small"}
"""Name in the settings -> folder."""

_FOLDER = Path(__file__).parent


def seed_folder(name: str = "embedded") -> Path:
    """Folder of a seed LLM, as `save_pretrained` wrote it."""
    return _FOLDER / SEEDS[name]


def world_rdf() -> Path:
    """The characters' facts as RDF (Turtle), in Wikidata's shape."""
    return _FOLDER / "world.ttl"


def world_export(language: str = "en") -> Path:
    """The characters' articles in one language as a MediaWiki XML export."""
    return _FOLDER / f"articles-{language}.xml"
