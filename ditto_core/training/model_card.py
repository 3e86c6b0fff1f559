"""Model card: what the tuned model's folder says of itself, and the picture of its losses.

In:     a run and its record.
Out:    README.md with the YAML header that hubs read; loss.png.
Source: the hub's model card format.

Example: "| steps | 300 of 128 conversations, 5.4 epochs; kept: step 300 |"
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ditto_core.training.run import Run


def text(run: Run, record: Mapping[str, Any]) -> str:
    """The card of a finished run."""
    settings = run.spec.settings
    base = Path(run.spec.base).name if Path(run.spec.base).is_dir() else run.spec.base
    of_hub = f"base_model: {base}\n" if "/" in base else ""
    unit = f"packed sequences ({record['sequences']} in all)" if settings.packing else "conversations"
    epochs = record["steps"] * settings.global_batch / record["sequences"]
    evaluated = "not measured" if record["eval_loss"] is None else f"{record['eval_loss']:.4f}"
    facts = {
        "started from": f"{base}, weights `{run.seed.weights}`",
        "trained on": f"{record['rows']} conversations, {record['cut_rows']} of them cut at {settings.max_length} tokens",
        "steps": f"{record['steps']} of {settings.global_batch} {unit}, {epochs:.1f} epochs; kept: step {record['kept_step']}",
        "tokens seen": str(record["tokens"]),
        "tokens trained": f"{record['trained_token_share']:.1%}, the assistant's words and their end token",
        "loss, first and last step": f"{record['losses'][0][1]:.4f}, {record['losses'][-1][1]:.4f}",
        "loss on held-out roles": evaluated,
        "chat template": str(record["template"]),
        "weights": f"`{record['model']['weights']}`",
        "digest of the run": f"`{run.digest}`",
    }
    rows = "".join(f"| {name} | {value} |\n" for name, value in facts.items())
    shown = json.dumps(settings.model_dump(), indent=1, sort_keys=True)
    return (
        f"---\n{of_hub}library_name: transformers\npipeline_tag: text-generation\ntags:\n- role-play\n- trl\n- sft\n---\n\n"
        "# Role-play model by self-alignment\n\n"
        "Fine-tuned on dialogues that its own seed wrote with the characters' profiles before it, the profiles taken away. "
        "The system prompt is one line: who the character is. Method: Lu et al. 2024, arXiv 2401.12474. Made by Ditto.\n\n"
        f"| | |\n|---|---|\n{rows}\n## Settings\n\n```json\n{shown}\n```\n\n"
        "## Limits\n\nIt answers as a character would, from memory, and may be wrong; a character's views are not facts. The "
        "licences of the seed model and of the dataset apply.\n"
    )


def draw(path: Path, losses: Sequence[Sequence[float]], evaluations: Sequence[Sequence[float]]) -> None:
    """Draw the loss of each step, and on held-out roles where it was measured, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([step for step, _ in losses], [loss for _, loss in losses], label="training")
    if evaluations:
        axes.plot([step for step, _ in evaluations], [loss for _, loss in evaluations], "o", label="held-out roles")
    axes.set_xlabel("step")
    axes.set_ylabel("loss, nats per trained token")
    axes.legend()
    figure.savefig(path, dpi=120)
