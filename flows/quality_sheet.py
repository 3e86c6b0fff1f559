"""sheet: simulated questions for people to label, and the picture of what they said."""

import itertools
from collections.abc import Sequence
from pathlib import Path

from ditto_core.errors import InvalidInput
from ditto_core.evaluation import query_quality
from ditto_core.records import Dialogue
from ditto_core.settings import Settings
from ditto_core.shards import ShardStore, write_text
from tasks import handover, recipes


def write(settings: Settings, count: int) -> list[Path]:
    """Write the sheet of a simulation, `count` questions of each kind, as CSV and HTML.

    Raises:
        InvalidInput: There are no dialogues for these settings.
    """
    recipe = recipes.simulation_recipe(settings)
    store = ShardStore.of(settings)
    shards = handover.take(settings, "dialogues", recipe, "simulate")
    dialogues = itertools.chain.from_iterable(store.read(ref, Dialogue) for refs in shards.values() for ref in refs)
    rows = query_quality.sample(dialogues, settings.generation.model, count)
    paths = [Path(settings.data_root) / "sheets" / f"questions-{recipe[:12]}.{suffix}" for suffix in ("csv", "html")]
    for path, text in zip(paths, (query_quality.to_csv(rows), query_quality.to_html(rows)), strict=True):
        write_text(path, text)
    return paths


def read(settings: Settings, sheets: Sequence[Path]) -> Path:
    """Draw the labels of filled-in sheets, of one model or of several, and return the page.

    Raises:
        InvalidInput: A sheet cannot be read; the message names file and line.
    """
    try:
        texts = {str(sheet): sheet.read_text("utf-8") for sheet in sheets}
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read a sheet: {error}") from error
    path = Path(settings.data_root) / "sheets" / "quality.html"
    write_text(path, query_quality.figure(query_quality.read(texts)))
    return path
