"""The user's own check for toxicity: "module:function", from an answer to a score of 0 to 1.

It is code that the user wrote and put on the Python path; naming it in the settings is consent to run it. The module's text
enters the recipe, so a changed check filters anew.
"""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

from ditto_core.errors import InvalidInput
from ditto_core.recipe import file_digest


def load(name: str) -> Callable[[str], float]:
    """The function of that name.

    Raises:
        InvalidInput: The name has another form, or there is no such function.
    """
    module, colon, function = name.partition(":")
    if not (module and colon and function):
        raise InvalidInput(f"dataset.toxicity is {name!r}; expected module:function, such as my_checks:toxicity")
    try:
        check: Callable[[str], float] = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise InvalidInput(f"dataset.toxicity={name}: {error}. Put the module on the Python path (PYTHONPATH).") from error
    return check


def identify(name: str) -> str:
    """Digest of the text of the function's module."""
    load(name)
    file = sys.modules[name.partition(":")[0]].__file__
    return file_digest([Path(file)]) if file else name
