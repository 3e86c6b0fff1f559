"""ditto: the commands. Each calls the flow that the Prefect UI would.

Heavy modules, Prefect among them, are imported when a command needs them, so that `ditto --help` answers at once.
Exit codes: 0 done, 1 finished with failures, 2 bad input or settings. A user's mistake never shows a traceback.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from ditto_core.errors import DittoError, InvalidInput
from ditto_core.settings import Settings
from flows.options import Json, Offline, Refresh, takes_settings
from flows.server import ServerGone, answers

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="Role-play models by self-alignment, from facts to a judged model."
)


def main() -> None:
    """Entry point of the command line; maps errors to exit codes."""
    # Prefect's server and the embedded world are on this machine: no proxy of the environment stands before them.
    os.environ["no_proxy"] = ",".join(
        filter(None, (os.environ.get("no_proxy") or os.environ.get("NO_PROXY"), "127.0.0.1,localhost"))
    )
    try:
        app(standalone_mode=True)
    except InvalidInput as error:
        typer.secho(f"error: {error}", err=True, fg="red")
        sys.exit(2)
    except DittoError as error:
        typer.secho(f"failed: {error}", err=True, fg="red")
        if isinstance(error, ServerGone):
            os._exit(1)  # at a usual end Prefect would wait for the server, to tell it of the end
        sys.exit(1)
    except KeyboardInterrupt:
        typer.secho("interrupted; run the same command again to go on where it stopped", err=True)
        sys.exit(1)


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


def _run(settings: Settings, flow: str, as_json: bool, *arguments: Any) -> Any:
    """Run one flow and print what it made."""
    with _orchestrated(settings) as address:
        try:
            result = _flow(flow)(settings, *arguments)
        except Exception as error:  # without its server Prefect raises this and that, after minutes of trying
            if answers(address):
                raise
            raise ServerGone(
                f"the Prefect server at {address!r} does not answer any more. Run the same command again, with a server: "
                f"what was finished is not done again."
            ) from error
    for item in result if isinstance(result, list) else [result]:
        _print(item)
    if as_json:
        typer.echo(_json_line(result))
    else:
        typer.echo(f"To look at the runs, their logs and artifacts: {_called()} serve --data-root {settings.data_root}")
    return result


def _called() -> str:
    """How this shell finds the command: `make` puts it into .venv, which need not be on the path."""
    return "ditto" if shutil.which("ditto") else sys.argv[0]


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


def _flow(name: str) -> Callable[..., Any]:
    """Import a flow, and with it Prefect, when a command needs it: "knowledge.collect" is flows/knowledge.py's collect."""
    module, function = name.split(".")
    flow: Callable[..., Any] = getattr(import_module(f"flows.{module}"), function)
    return flow


def _stage(name: str, flow: str, text: str) -> None:
    def command(settings: Settings, as_json: Json = False) -> None:
        _run(settings, flow, as_json)

    app.command(name, help=text)(takes_settings(command))


def _sharded(name: str, flow: str, text: str) -> None:
    """A stage of which single shards can be made again."""

    def command(settings: Settings, refresh: Refresh = None, as_json: Json = False) -> None:
        _run(settings, flow, as_json, refresh or ())

    app.command(name, help=text)(takes_settings(command))


def _asking(name: str, flow: str, text: str) -> None:
    """The same for one that asks others' servers, unless it is told not to."""

    def command(settings: Settings, offline: Offline = False, refresh: Refresh = None, as_json: Json = False) -> None:
        knowledge = settings.knowledge.model_copy(update={"offline": offline or settings.knowledge.offline})
        _run(settings.model_copy(update={"knowledge": knowledge}), flow, as_json, refresh or ())

    app.command(name, help=text)(takes_settings(command))


_asking("collect", "knowledge.collect", "Collect character profiles from the knowledge base and the articles.")
_sharded("simulate", "simulation.simulate", "Let the seed LLM write questions and answer them in each role's voice.")
_sharded("assemble", "dataset.assemble", "Turn the simulated sessions into a dataset folder.")
_stage("train", "training.train", "Fine-tune the seed LLM on the dataset.")
_stage("evaluate", "evaluation.evaluate", "Score seed and tuned model on roles that were never trained.")
_asking("run", "pipeline.pipeline", "Run all stages.")
_stage(
    "leaderboard", "evaluation.leaderboard", "Score the models of evaluation.models beside each other and the paper's figures."
)
_stage("matrix", "matrix.matrix", "Let every supervisor teach every seed, and draw the matrix.")


@app.command()
@takes_settings
def ablate(
    settings: Settings,
    kind: Annotated[str, typer.Argument(help="knowledge, turns or contrastive.")],
    as_json: Json = False,
) -> None:
    """Vary one choice and score every variant on the same test sessions."""
    from ditto_core.evaluation import ablations

    ablations.check(kind)  # Prefect would refuse the flow's parameter with a traceback
    _run(settings, "ablation.ablate", as_json, kind)


@app.command()
@takes_settings
def judge(
    settings: Settings,
    files: Annotated[list[Path], typer.Argument(help="Prediction files in WikiRoleEval's format.")],
    as_json: Json = False,
) -> None:
    """Judge the answers of prediction files, whoever made them."""
    _run(settings, "evaluation.judge", as_json, files)


@app.command()
@takes_settings
def report(
    settings: Settings,
    runs: Annotated[list[Path] | None, typer.Argument(help="Two judged files or report folders to compare.")] = None,
    as_json: Json = False,
) -> None:
    """Write the report of an evaluation again, or compare two runs: `ditto report A B`."""
    if runs:
        from flows.comparison import print_comparison

        print_comparison(settings, runs, as_json)
    else:
        _run(settings, "evaluation.evaluate", as_json)


@app.command()
@takes_settings
def nightly(
    settings: Settings,
    keep: Annotated[int, typer.Option(min=1, help="Versions that stay.")] = 7,
    as_json: Json = False,
) -> None:
    """Regenerate the dataset from what changed at the source, as a dated version with a changelog."""
    _run(settings, "nightly.nightly", as_json, keep)


@app.command()
@partial(takes_settings, preset="demo")
def demo(settings: Settings, as_json: Json = False) -> None:
    """Run all stages on the embedded world with the embedded seed LLM: minutes on two cores."""
    typer.echo("A toy world of 100 characters and a seed LLM of 2.2 million parameters: the loop is real, the size is not.\n")
    results = _run(settings, "pipeline.pipeline", as_json=False)
    last = results[-1]
    typer.echo("The same question before and after, to roles that were never trained:\n")
    for exchange in last.extra["exchanges"]:
        typer.echo(f"{exchange}\n")
    typer.echo(f"Report: {last.extra['report']}")
    typer.echo(f"Talk to one of them:  {_called()} chat --preset demo --role 'Ada Lovelace'")
    if as_json:
        typer.echo(_json_line(results))


@app.command(name="settings")
@takes_settings
def show_settings(settings: Settings) -> None:
    """Print all settings of a run as a table."""
    from ditto_core.settings_table import render

    typer.echo(render(settings), nl=False)


@app.command()
@takes_settings
def plan(
    settings: Settings,
    budget_tokens: Annotated[int | None, typer.Option(help="Fail if simulation needs more tokens than this.")] = None,
    tokens_per_second: Annotated[float | None, typer.Option(help="Of your engine; default: what the last run reached.")] = None,
    as_json: Json = False,
) -> None:
    """Say what is there for these settings, what is stale and why, and what the rest costs in tokens and time."""
    from flows.plan import plan as make_plan

    rows = make_plan(settings, tokens_per_second=tokens_per_second, budget=budget_tokens)
    for row in rows:
        typer.echo(f"{row['stage']:9} {row['state']:8} {row['why']}")
    if as_json:
        typer.echo(json.dumps({"stages": rows}, ensure_ascii=False))


@app.command()
@takes_settings
def sheet(
    settings: Settings,
    labelled: Annotated[list[Path] | None, typer.Argument(help="Filled-in CSV sheets, to draw what people said.")] = None,
    count: Annotated[int, typer.Option(help="Questions of each kind in a new sheet.")] = 200,
) -> None:
    """Write simulated questions for people to label correct, unsure or wrong; with labelled sheets, draw the labels by model."""
    from flows import quality_sheet

    for path in [quality_sheet.read(settings, labelled)] if labelled else quality_sheet.write(settings, count):
        typer.echo(path)


@app.command()
@takes_settings
def memo(
    settings: Settings,
    action: Annotated[str, typer.Argument(help="show, prune, export or import.")] = "show",
    file: Annotated[Path | None, typer.Argument(help="Parquet file of export and import.")] = None,
    older_than: Annotated[float | None, typer.Option(help="prune: days.")] = None,
    model: Annotated[str, typer.Option(help="prune: beginning of a model's name or digest, as show prints it.")] = "",
    as_json: Json = False,
) -> None:
    """Show what the store of completions holds and saved; prune it by age or model, export it, import into it."""
    from flows import memo_command

    result = memo_command.run(settings, action, file, older_than, model)
    typer.echo("\n".join(memo_command.describe(result)))
    if as_json:
        typer.echo(json.dumps(result, ensure_ascii=False))


@app.command()
@takes_settings
def chat(
    settings: Settings,
    role: Annotated[str, typer.Option(help="Label of a character, such as 'Ada Lovelace'.")],
    model: Annotated[str, typer.Option(help="before (the seed) or after (the tuned model).")] = "after",
) -> None:
    """Talk to a role in the terminal; an empty line ends the talk."""
    from flows.conversation import converse

    converse(settings, role, model)


@app.command("export")
@takes_settings
def export_dataset(
    settings: Settings,
    form: Annotated[str, typer.Option(help="sharegpt or alpaca, as JSON Lines.")] = "sharegpt",
    out: Annotated[Path, typer.Option(help="Folder for a file a split.")] = Path("export"),
    push: Annotated[str, typer.Option(help="Instead, upload the folder to this dataset of a hub; token in HF_TOKEN.")] = "",
    as_json: Json = False,
) -> None:
    """Write the dataset in the forms that other trainers read, or push it to a hub."""
    from flows import exporting

    if push:
        done: dict[str, Any] = {"pushed": exporting.push(settings, push)}
    else:
        done = {"output": str(out), "rows": dict(exporting.export(settings, form, out))}
    typer.echo(json.dumps(done) if as_json else " ".join(str(value) for value in done.values()))


@app.command("import")
@takes_settings
def import_dataset(
    settings: Settings,
    sources: Annotated[list[Path], typer.Argument(help="Files or folders: .parquet, .jsonl.")],
    language: Annotated[str, typer.Option(help="Of rows that do not say theirs.")] = "en",
    as_json: Json = False,
) -> None:
    """Make a dataset of conversations from elsewhere: ShareGPT, Alpaca, messages, WikiRoleEval, or a folder of ours."""
    from flows.importing import bring_in

    dataset, ledger = bring_in(settings, sources, language)
    if as_json:
        typer.echo(json.dumps({"output": dataset.folder, "rows": dict(dataset.rows), "ledger": ledger.summary()}))
        return
    typer.echo(f"{dataset.folder}: {dict(dataset.rows)}; {ledger.summary()}")
    typer.echo(f"Train on it:  ditto train --set dataset.imported={dataset.folder}")


@app.command()
@takes_settings
def serve(settings: Settings, port: Annotated[int, typer.Option(help="Of the UI, on 127.0.0.1.")] = 4200) -> None:
    """Start the Prefect UI with a deployment of every flow, and serve them until Ctrl-C."""
    from flows.server import prefect_server

    with prefect_server(Path(settings.data_root), port=port) as address:
        typer.echo(f"Prefect UI: {address.removesuffix('/api')}  (Ctrl-C ends it; the history stays in the data root)")
        from deployments.serve import serve_flows

        serve_flows(settings)


@app.command()
@takes_settings
def doctor(
    settings: Settings,
    fix: Annotated[bool, typer.Option("--fix", help="Mark runs of killed processes as Crashed first.")] = False,
    as_json: Json = False,
) -> None:
    """Check Python, packages, engine, endpoints, disk, memo and runs, and say what to do about what is wrong."""
    from flows.doctor import examine

    if fix:
        with _orchestrated(settings):
            from flows.janitor import clear_dead_runs

            for name in clear_dead_runs(settings):
                typer.echo(f"fixed runs: {name} was dead and is marked Crashed; Retry goes on where it stopped")
    findings = examine(settings)
    for finding in findings:
        typer.echo(f"{'ok  ' if finding.ok else 'FAIL'} {finding.what}: {finding.detail}")
    if as_json:
        typer.echo(json.dumps({"findings": [asdict(finding) for finding in findings]}, ensure_ascii=False))
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)
