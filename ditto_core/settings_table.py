"""All settings as a table: what the README shows of the defaults, and `ditto settings` of a run's own.

Example row: "| training.max_steps | 300 | Optimizer steps (appendix C). [at least 1] |"
"""

import json
from collections.abc import Iterator

from pydantic import BaseModel

from ditto_core.settings import GenerationSettings, Settings


def render(settings: Settings) -> str:
    """A Markdown table: every setting, its value here, and its help with its bounds."""
    rows = (f"| {name} | `{value}` | {text} |" for name, value, text in _rows(settings, ""))
    return "\n".join(["| setting | value | |", "|---|---|---|", *rows]) + "\n"


def _rows(section: BaseModel, prefix: str) -> Iterator[tuple[str, str, str]]:
    properties = type(section).model_json_schema()["properties"]
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, GenerationSettings) and prefix:
            yield f"{prefix}{name}", "{...}", f"{properties[name]['description']} Has the fields of `generation`."
        elif isinstance(value, BaseModel):
            yield from _rows(value, f"{prefix}{name}.")
        else:
            text = " ".join(properties[name]["description"].split()).replace("|", "\\|")
            yield f"{prefix}{name}", json.dumps(value, ensure_ascii=False), text
