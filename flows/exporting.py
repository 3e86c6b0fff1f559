"""export: the dataset of these settings in the forms that other trainers read, or onto a hub."""

import json
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import BinaryIO

from ditto_core.dataset import formats
from ditto_core.errors import InvalidInput, SourceUnavailable
from ditto_core.records import Example, from_table
from ditto_core.settings import Settings
from ditto_core.shards import read_groups, write_atomically
from tasks import handover, recipes


def export(settings: Settings, form: str, out: Path) -> Mapping[str, int]:
    """Write a JSON Lines file for each split that has rows; returns the number of rows of each.

    Raises:
        InvalidInput: No such form, no dataset for these settings, or the disk is full.
    """
    chosen = next((known for known in formats.FORMS if known == form), None)
    if chosen is None:
        raise InvalidInput(f"--form {form!r} is not known; known: {', '.join(formats.FORMS)}")
    dataset = handover.take_dataset(settings, recipes.dataset_recipe(settings))
    folder = Path(settings.data_root) / dataset.folder
    written = {split: rows for split, rows in dataset.rows.items() if rows}
    for split in written:
        write_atomically(out / f"{split}.jsonl", partial(_write, folder / f"{split}.parquet", chosen))
    return written


def _write(source: Path, form: formats.Form, file: BinaryIO) -> None:
    for table in read_groups(source):
        for example in from_table(Example, table):
            file.write(json.dumps(formats.write(example, form), ensure_ascii=False).encode() + b"\n")


def push(settings: Settings, repository: str) -> str:
    """Upload the dataset folder, card first on its page; a new repository is private. Returns its address.

    The token comes from HF_TOKEN, the hub from HF_ENDPOINT if that is set.

    Raises:
        InvalidInput: No token, no dataset, no hub at the address, or it refuses token or name.
        SourceUnavailable: The hub is busy, or was lost on the way.
    """
    token = os.environ.get("HF_TOKEN", "").strip()
    if not token:
        raise InvalidInput("--push needs a token of the hub that may write, in the environment variable HF_TOKEN")
    if not (token.isascii() and token.isprintable()):
        raise InvalidInput("HF_TOKEN holds characters that no HTTP header can carry; copy the token again.")
    import httpx2  # huggingface_hub's client, whose errors come through it as they are
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    dataset = handover.take_dataset(settings, recipes.dataset_recipe(settings))
    hub = HfApi(token=token)
    try:
        hub.create_repo(repository, repo_type="dataset", private=True, exist_ok=True)
        done = hub.upload_folder(
            folder_path=Path(settings.data_root) / dataset.folder,
            repo_id=repository,
            repo_type="dataset",
            commit_message=f"Ditto dataset {dataset.digest[:12]}",
        )
    except HFValidationError as error:
        raise InvalidInput(f"--push {repository!r}: {error}") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        problem = f"the hub refused {repository!r} with status {status}: {error.server_message or error}"
        if status in (400, 401, 403, 404):
            raise InvalidInput(f"{problem}. Check HF_TOKEN and the name, such as your-name/your-dataset.") from error
        raise SourceUnavailable(problem) from error
    except (httpx2.ConnectError, httpx2.UnsupportedProtocol, OfflineModeIsEnabled) as error:
        raise InvalidInput(
            f"no hub can be reached at {hub.endpoint}: {error}. Check the network, and HF_ENDPOINT if it is set."
        ) from error
    except httpx2.HTTPError as error:
        raise SourceUnavailable(f"the hub at {hub.endpoint} did not answer: {type(error).__name__}: {error}") from error
    return str(done.repo_url)
