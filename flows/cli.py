"""ditto: the commands. Each calls the flow that the Prefect UI would.

Heavy modules, Prefect among them, are imported when a command needs them, so that `ditto --help` answers at once.
Exit codes: 0 done, 1 finished with failures, 2 bad input or settings. A user's mistake never shows a traceback.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from ditto_core import settings as configuration
from ditto_core.errors import DittoError, InvalidInput
from ditto_core.settings import Settings

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="Role-play models by self-alignment, from facts to a judged model."
)

Preset = Annotated[str, typer.Option(help="demo, tiny, lora or paper.")]
Config = Annotated[Path | None, typer.Option(help="TOML file with settings.")]
Assign = Annotated[list[str] | None, typer.Option("--set", help="One setting: stage.field=value. May be repeated.")]
DataRoot = Annotated[str | None, typer.Option(envvar="DITTO_DATA_ROOT", help="Folder of shards, datasets, models and reports.")]
MemoUrl = Annotated[str | None, typer.Option(envvar="DITTO_MEMO_URL", help="Database of completions.")]
Json = Annotated[bool, typer.Option("--json", help="Make the last line of stdout one JSON object.")]


def main() -> None:
    """Entry point of the command line; maps errors to exit codes."""
    try:
        app(standalone_mode=True)
    except InvalidInput as error:
        typer.secho(f"error: {error}", err=True, fg="red")
        sys.exit(2)
    except DittoError as error:
        typer.secho(f"failed: {error}", err=True, fg="red")
        sys.exit(1)
    except KeyboardInterrupt:
        typer.secho("interrupted; run the same command again to go on where it stopped", err=True)
        sys.exit(1)


def _settings(
    preset: str, config: Path | None, assign: list[str] | None, data_root: str | None, memo_url: str | None
) -> Settings:
    top = {name: value for name, value in (("data_root", data_root), ("memo_url", memo_url)) if value is not None}
    return configuration.load(preset, config, assign or (), **top)


@contextmanager
def _orchestrated(settings: Settings) -> Iterator[str]:
    """A Prefect API, the environment's secrets handed over, progress bars, and everything closed at the end."""
    # Errors are printed once, in words, by `main`; their tracebacks stay in the run's log.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from flows.server import prefect_server

    with prefect_server(Path(settings.data_root)) as address:
        from flows.terminal import progress_bars
        from tasks import resources

        try:
            with progress_bars():
                yield address
        finally:
            resources.release()
            _flush_logs()


def _flush_logs() -> None:
    """Send what Prefect still holds back, before the server that it goes to ends."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogHandler

    APILogHandler().flush()
    EventsWorker.drain_all()


def _run(settings: Settings, choose: Callable[[], Callable[[Settings], Any]], as_json: bool) -> Any:
    """Run one flow and print what it made."""
    with _orchestrated(settings):
        result = choose()(settings)
    for item in result if isinstance(result, list) else [result]:
        _print(item)
    if as_json:
        typer.echo(_json_line(result))
    else:
        typer.echo(f"To look at the runs, their logs and artifacts: ditto serve --data-root {settings.data_root}")
    return result


def _json_line(result: Any) -> str:
    """One JSON object: a stage's, or of several stages the last one's with the others beside it and the sums of all."""
    if not isinstance(result, list):
        return json.dumps(result.as_json(), ensure_ascii=False)
    sums = {
        "stages": [item.as_json() for item in result[:-1]],
        "model_calls": sum(item.model_calls for item in result),
        "seconds": round(sum(item.seconds for item in result), 3),
    }
    return json.dumps(result[-1].as_json() | sums, ensure_ascii=False)


def _print(result: Any) -> None:
    from tasks.reporting import describe

    typer.echo(
        f"{result.stage:9} {describe(result.ledger)} | {result.model_calls} model calls | "
        f"{result.seconds:.1f} s | {result.output}"
    )
    if "table" in result.extra:
        typer.echo(f"\n{result.extra['judge']}\n{result.extra['table']}\n")


def _stage(name: str, choose: Callable[[], Callable[[Settings], Any]], text: str) -> None:
    @app.command(name, help=text)
    def command(
        preset: Preset = "paper",
        config: Config = None,
        assign: Assign = None,
        data_root: DataRoot = None,
        memo_url: MemoUrl = None,
        as_json: Json = False,
    ) -> None:
        _run(_settings(preset, config, assign, data_root, memo_url), choose, as_json)


def _collect() -> Callable[[Settings], Any]:
    from flows.knowledge import collect

    return collect


def _simulate() -> Callable[[Settings], Any]:
    from flows.simulation import simulate

    return simulate


def _assemble() -> Callable[[Settings], Any]:
    from flows.dataset import assemble

    return assemble


def _train() -> Callable[[Settings], Any]:
    from flows.training import train

    return train


def _evaluate() -> Callable[[Settings], Any]:
    from flows.evaluation import evaluate

    return evaluate


def _pipeline() -> Callable[[Settings], Any]:
    from flows.pipeline import pipeline

    return pipeline


_stage("collect", _collect, "Collect character profiles from the knowledge base and the articles.")
_stage("simulate", _simulate, "Let the seed LLM write questions and answer them in each role's voice.")
_stage("assemble", _assemble, "Turn the simulated sessions into a dataset folder.")
_stage("train", _train, "Fine-tune the seed LLM on the dataset.")
_stage("evaluate", _evaluate, "Score seed and tuned model on roles that were never trained.")
_stage("run", _pipeline, "Run all stages.")


@app.command()
def demo(
    config: Config = None,
    assign: Assign = None,
    data_root: DataRoot = None,
    memo_url: MemoUrl = None,
    as_json: Json = False,
) -> None:
    """Run all stages on the embedded world with the embedded seed LLM: minutes on two cores."""
    settings = _settings("demo", config, assign, data_root, memo_url)
    typer.echo("A toy world of 100 characters and a seed LLM of 1.6 million parameters: the loop is real, the size is not.\n")
    results = _run(settings, _pipeline, as_json=False)
    last = results[-1]
    typer.echo("The same question before and after, to roles that were never trained:\n")
    for exchange in last.extra["exchanges"]:
        typer.echo(f"{exchange}\n")
    typer.echo(f"Report: {last.extra['report']}")
    typer.echo("Talk to one of them:  ditto chat --preset demo --role 'Ada Lovelace'")
    if as_json:
        typer.echo(_json_line(results))


@app.command()
def plan(
    preset: Preset = "paper",
    config: Config = None,
    assign: Assign = None,
    data_root: DataRoot = None,
    memo_url: MemoUrl = None,
    as_json: Json = False,
) -> None:
    """Say what is there for these settings and how many requests the rest needs at most."""
    from flows.plan import plan as make_plan

    rows = make_plan(_settings(preset, config, assign, data_root, memo_url))
    for row in rows:
        typer.echo(f"{row['stage']:9} {row['state']:8} {row['why']}")
    if as_json:
        typer.echo(json.dumps({"stages": rows}, ensure_ascii=False))


@app.command()
def report(
    preset: Preset = "paper",
    config: Config = None,
    assign: Assign = None,
    data_root: DataRoot = None,
    memo_url: MemoUrl = None,
    as_json: Json = False,
) -> None:
    """Write the report of an evaluation again; predictions and judgements come from their shards."""
    _run(_settings(preset, config, assign, data_root, memo_url), _evaluate, as_json)


@app.command()
def chat(
    role: Annotated[str, typer.Option(help="Label of a character, such as 'Ada Lovelace'.")],
    model: Annotated[str, typer.Option(help="before (the seed) or after (the tuned model).")] = "after",
    preset: Preset = "paper",
    config: Config = None,
    assign: Assign = None,
    data_root: DataRoot = None,
    memo_url: MemoUrl = None,
) -> None:
    """Talk to a role in the terminal; an empty line ends the talk."""
    from flows.conversation import converse

    converse(_settings(preset, config, assign, data_root, memo_url), role, model)


@app.command()
def serve(
    preset: Preset = "paper",
    config: Config = None,
    assign: Assign = None,
    data_root: DataRoot = None,
    memo_url: MemoUrl = None,
    port: Annotated[int, typer.Option(help="Of the UI, on 127.0.0.1.")] = 4200,
) -> None:
    """Start the Prefect UI with a deployment of every flow, and serve them until Ctrl-C."""
    settings = _settings(preset, config, assign, data_root, memo_url)
    from flows.server import prefect_server

    with prefect_server(Path(settings.data_root), port=port) as address:
        typer.echo(f"Prefect UI: {address.removesuffix('/api')}  (Ctrl-C ends it; the history stays in the data root)")
        from deployments.serve import serve_flows

        serve_flows(settings)


@app.command()
def doctor(
    preset: Preset = "paper",
    config: Config = None,
    assign: Assign = None,
    data_root: DataRoot = None,
    memo_url: MemoUrl = None,
) -> None:
    """Check Python, packages, engine, endpoints, disk and memo, and say what to do about what is wrong."""
    from flows.doctor import examine

    findings = examine(_settings(preset, config, assign, data_root, memo_url))
    for finding in findings:
        typer.echo(f"{'ok  ' if finding.ok else 'FAIL'} {finding.what}: {finding.detail}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)
