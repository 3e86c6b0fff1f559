"""plan: what a run would do, before anything is paid. No model is loaded and no source is asked."""

import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ditto_core import languages
from ditto_core.errors import DittoError, InvalidInput
from ditto_core.evaluation import wikiroleeval
from ditto_core.evaluation.scores import METRICS
from ditto_core.recipe import digest
from ditto_core.records import Profile
from ditto_core.settings import Settings
from ditto_core.shards import ShardStore
from ditto_core.simulation.estimate import SAMPLE, Estimate, estimate
from tasks import handover, recipes, resources

Row = dict[str, Any]
_SHAPES = {
    "profiles": ("knowledge", "shards"),
    "dialogues": ("knowledge", "shards", "generation", "simulation"),
    "examples": ("knowledge", "shards", "generation", "simulation", "dataset"),
    "model": ("knowledge", "shards", "generation", "simulation", "dataset", "training"),
}
"""Output -> the settings that can make it stale."""


def plan(settings: Settings, *, tokens_per_second: float | None = None, budget: int | None = None) -> list[Row]:
    """One row a stage: "cached", "stale" or "missing", why, and what it costs.

    Args:
        tokens_per_second: New tokens per second of the engine; None is what the last simulation with this model reached.
        budget: Tokens, in and out together, that simulation may cost.

    Raises:
        InvalidInput: Simulation would cost more than the budget.
    """
    try:
        made = recipes.dataset_recipe(settings)
        rows = [
            _row(settings, "collect", "profiles", recipes.knowledge_recipe(settings), "asks what the snapshot lacks"),
            _simulation(settings, tokens_per_second),
            _assembly(settings, made),
            _training(settings, made),
            _evaluation(settings, made),
        ]
        for before, row in itertools.pairwise(rows[2 if settings.dataset.imported else 0 : -1]):
            if row["state"] == "cached" and before["state"] != "cached":
                row |= {"state": "stale", "why": f"{before['stage']} is {before['state']}"}
    finally:
        resources.release()
    needed = rows[1].get("prompt_tokens", 0) + rows[1].get("new_tokens", 0)
    if budget is not None and needed > budget:
        raise InvalidInput(
            f"simulation needs about {needed:,} tokens, the budget is {budget:,}. Lower knowledge.max_characters, "
            f"simulation.profile_tokens or simulation.partners, or raise the budget."
        )
    return rows


def _row(settings: Settings, stage: str, output: str, recipe: str, cost: str, made_of: tuple[str, str] | None = None) -> Row:
    """One row; `made_of` is the output of the stage before, and its recipe."""
    try:
        value = handover.take_value(settings, output, recipe, stage)
    except InvalidInput:
        before = _settings_before(settings, output)
        if before is None:
            return {"stage": stage, "state": "missing", "why": f"no {output} yet; {cost}"}
        return {"stage": stage, "state": "stale", "why": f"{_changes(settings, output, before)}; {cost}"}
    if made_of and not handover.is_made_of(settings, output, recipe, handover.take(settings, *made_of, "")):
        return {"stage": stage, "state": "stale", "why": f"the {made_of[0]} changed; {cost}"}
    return {"stage": stage, "state": "cached", "why": _where(settings, output, recipe, value)}


def _where(settings: Settings, output: str, recipe: str, value: Any) -> str:
    if "folder" in value:
        return str(value["folder"])
    store = ShardStore.of(settings)
    refs = [ref for refs in handover.take(settings, output, recipe, "").values() for ref in refs]
    broken = sum(not store.is_intact(ref) for ref in refs)
    return f"{sum(ref.rows for ref in refs)} rows in {len(refs)} shards" + (f", {broken} to recompute" if broken else "")


def _settings_before(settings: Settings, output: str) -> Mapping[str, Any] | None:
    """The settings of the newest output of a stage, or None if there was never one."""
    folder = Path(settings.data_root) / "handover"
    newest = max(folder.glob(f"{output}-*.settings.json"), key=lambda path: path.stat().st_mtime_ns, default=None)
    return None if newest is None else json.loads(newest.read_text("utf-8"))


def _changes(settings: Settings, output: str, before: Mapping[str, Any]) -> str:
    """What is different now, such as "simulation.temperature 0.7 -> 0.5"."""
    now = dict(_flat(settings.model_dump(mode="json", include=set(_SHAPES[output]))))
    then = dict(_flat({name: value for name, value in before.items() if name in _SHAPES[output]}))
    changed = [f"{name} {then.get(name)!r} -> {now[name]!r}" for name in now if now[name] != then.get(name)]
    return ", ".join(changed) or "the model's weights, a prompt or the version of the code changed"


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _simulation(settings: Settings, tokens_per_second: float | None) -> Row:
    """The row of simulate, with requests, tokens and seconds."""
    recipe = recipes.simulation_recipe(settings)
    try:
        needed = _estimate(settings)
    except InvalidInput:
        return _row(settings, "simulate", "dialogues", recipe, "requests are known after collect")
    rate = tokens_per_second or _last_rate(settings)
    time = f"about {needed.new_tokens / rate:,.0f} s" if rate else "time is known after a first run, or with --tokens-per-second"
    cost = (
        f"about {needed.requests:,} requests, {needed.prompt_tokens:,} tokens in and {needed.new_tokens:,} out, {time}, and more "
        f"where lists of questions cannot be read and are drawn again; what the memo knows is free"
    )
    row = _row(settings, "simulate", "dialogues", recipe, cost, ("profiles", recipes.knowledge_recipe(settings)))
    if row["state"] == "cached":
        return row
    counts = {"requests": needed.requests, "prompt_tokens": needed.prompt_tokens, "new_tokens": needed.new_tokens}
    return row | counts | ({"seconds": round(needed.new_tokens / rate)} if rate else {})


def _assembly(settings: Settings, made: str) -> Row:
    """The row of assemble; an imported dataset is made of nothing here."""
    simulated = ("dialogues", recipes.simulation_recipe(settings))
    try:
        return _row(settings, "assemble", "examples", made, "no request", None if settings.dataset.imported else simulated)
    except InvalidInput as error:
        return {"stage": "assemble", "state": "stale", "why": str(error)}


def _training(settings: Settings, made: str) -> Row:
    """The row of train; a model that only a server knows can be planned for, though not tuned."""
    steps = f"{settings.training.max_steps} steps"
    try:
        recipe = recipes.training_recipe(settings)
        row = _row(settings, "train", "model", recipe, steps)
        if row["state"] != "cached":
            return row
        model, dataset = (handover.take_value(settings, *left, "") for left in (("model", recipe), ("dataset", made)))
    except InvalidInput as error:
        return {"stage": "train", "state": "missing", "why": str(error)}
    if model["dataset"] != dataset["folder"]:
        return {"stage": "train", "state": "stale", "why": f"the dataset changed; {steps}"}
    return row


def _estimate(settings: Settings) -> Estimate:
    profiles = handover.take(settings, "profiles", recipes.knowledge_recipe(settings), "collect")
    store, generator = ShardStore.of(settings), resources.generator(settings, settings.generation)
    lengths = {kept.purpose: kept.tokens / kept.completions for kept in resources.memo(settings).kept() if kept.completions}
    total = Estimate(0, 0, 0)
    for language, refs in profiles.items():
        rows = itertools.chain.from_iterable(store.read(ref, Profile) for ref in refs)
        sample = list(itertools.islice(rows, SAMPLE))
        if sample:
            roles, spoken = sum(ref.rows for ref in refs), languages.load(language)
            total += estimate(roles, sample, spoken, settings.simulation, generator.count_tokens, lengths)
    return total


def _last_rate(settings: Settings) -> float | None:
    try:
        measured = handover.take_value(settings, "speed", digest(resources.identify(settings.generation)), "simulate")
    except InvalidInput:
        return None
    return float(measured["tokens_per_second"])


def _evaluation(settings: Settings, made: str) -> Row:
    try:
        turns = _test_turns(settings, made)
    except DittoError as error:
        return {"stage": "evaluate", "state": "missing", "why": str(error)}
    chosen = settings.evaluation
    answers = (2 + len(chosen.models)) * chosen.runs * sum(turns)  # the model before and after, and others
    asked = [f"{answers:,} requests for answers"]
    if chosen.judge == "llm":
        verdicts = 2 * answers * chosen.votes * len(METRICS)  # what cannot be read is asked for once more
        asked.append(f"at most {verdicts:,} for verdicts")
    if chosen.mt_bench:
        asked.append("and MT-Bench's")
    why = f"{len(turns):,} sessions, {', '.join(asked)}; what the memo knows is free"
    return {"stage": "evaluate", "state": "open", "why": why}


def _test_turns(settings: Settings, made: str) -> list[int]:
    """Turns of each session that `evaluate` plays."""
    if settings.evaluation.test_file:
        path = Path(settings.evaluation.test_file)
        try:
            sessions, _ = wikiroleeval.read_test(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"cannot read evaluation.test_file {str(path)!r}: {error}") from error
        if not sessions:
            raise InvalidInput(f"evaluation.test_file {str(path)!r} holds no session in WikiRoleEval's format")
        return [len(session.kinds) for session in sessions]
    store = ShardStore.of(settings)
    examples = handover.take(settings, "examples", made, "assemble")
    tables = [store.read_table(ref, ["split", "kinds"]) for refs in examples.values() for ref in refs]
    return [len(row["kinds"]) for table in tables for row in table.to_pylist() if row["split"] == "test"]
