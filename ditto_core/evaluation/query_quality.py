"""Query quality: a sheet of simulated questions for people to label, and the picture of their labels.

Input:   dialogues; later the sheets that people filled in.
Output:  a CSV and an HTML sheet with as many role-specific as contrastive questions; bars of correct / unsure / wrong by model.
Source:  arXiv 2401.12474, figure 4: 400 questions per seed LLM, half of each kind, labelled by people.

Example row:
    id,model,kind,role,question,writer's reason,about,label
    3f2a,Qwen2.5-7B,contrastive,Plato,How did you find polonium?,...,Marie Curie ...,correct

A question is correct if the role it is put to should answer it (role_specific) or must not be able to (contrastive).
"""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from ditto_core.errors import InvalidInput
from ditto_core.evaluation import charts, page
from ditto_core.recipe import stable_hash
from ditto_core.records import Dialogue, Kind

LABELS = ("correct", "unsure", "wrong")
_COLUMNS = ("id", "model", "kind", "role", "question", "reason", "about", "label")
_NEEDED = ("model", "kind", "label")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_SCRIPT = """<p><button id="save" type="button">Save labels as CSV</button></p>
<script>document.getElementById("save").onclick=()=>{
const cell=text=>'"'+text.replaceAll('"','""')+'"';
const row=({dataset,value})=>[dataset.id,dataset.model,dataset.kind,value].map(cell).join();
const lines=[...document.querySelectorAll("select")].map(row);
const link=document.createElement("a");
link.href=URL.createObjectURL(new Blob(["id,model,kind,label\\n"+lines.join("\\n")+"\\n"],{type:"text/csv"}));
link.download="labels.csv";link.click()}</script>"""

Labels = Mapping[str, Mapping[str, Counter[str]]]
"""Model -> kind -> label -> number of questions."""


@dataclass(frozen=True, slots=True)
class Row:
    """One question to label.

    Attributes:
        about: The character that the role is not, or the role itself, in the knowledge base's words, for whoever labels.
    """

    id: str
    model: str
    kind: Kind
    role: str
    question: str
    reason: str
    about: str
    label: str = ""


def sample(dialogues: Iterable[Dialogue], model: str, count: int) -> list[Row]:
    """Draw `count` questions of each kind, by hash, so that the same dialogues give the same sheet."""
    rows: dict[str, Row] = {}
    for dialogue in dialogues:
        character = dialogue.profile.character
        about = f"{character.label}: {character.description}. {dialogue.profile.summary}"
        for turn in dialogue.turns:
            query = turn.query
            name = f"{stable_hash(f'{character.language}:{query.role}:{query.kind}:{query.question}'):016x}"
            rows[name] = Row(name, model, query.kind, character.label, query.question, query.reason, about)
    drawn = sorted(rows.values(), key=lambda row: row.id)
    kinds: tuple[Kind, ...] = ("role_specific", "contrastive")
    chosen = [row for kind in kinds for row in [row for row in drawn if row.kind == kind][:count]]
    return sorted(chosen, key=lambda row: row.id)  # mixed, so that the kind does not follow from the place


def to_csv(rows: Sequence[Row]) -> str:
    """The sheet for a spreadsheet; the column "label" is empty. No cell is taken for a formula."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows([_safe(str(getattr(row, name))) for name in _COLUMNS] for row in rows)
    return text.getvalue()


def to_html(rows: Sequence[Row]) -> str:
    """The sheet for a browser; its button saves the labels as CSV."""
    shown = [
        [
            f"{escape(row.role)}<small>{escape(row.about)}</small>",
            escape(row.kind.replace("_", " ")),
            f"{escape(row.question)}<small>{escape(row.reason)}</small>",
            f'<select data-id="{row.id}" data-model="{escape(row.model)}" data-kind="{row.kind}"><option></option>'
            + "".join(f"<option>{label}</option>" for label in LABELS)
            + "</select>",
        ]
        for row in rows
    ]
    told = "Correct: a role-specific question is one that the role should answer; a contrastive one is one that it must not."
    return page.page(
        "Quality of questions", [f"<p>{told}</p>", page.table(("role", "kind", "question", "label"), shown), _SCRIPT]
    )


def read(sheets: Mapping[str, str]) -> Labels:
    """Count the labels of filled-in sheets; rows without a label are left out.

    Args:
        sheets: Name of each file -> its text.

    Raises:
        InvalidInput: A column is missing, a label is not known, or nothing is labelled; the message names file and line.
    """
    counted: dict[str, dict[str, Counter[str]]] = {}
    for name, text in sheets.items():
        reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))
        missing = [column for column in _NEEDED if column not in (reader.fieldnames or ())]
        if missing:
            raise InvalidInput(f"{name}: no column {', '.join(missing)}; expected a sheet that `ditto sheet` wrote.")
        for row in reader:
            label, kind = (row["label"] or "").strip().lower(), row["kind"]
            if not label:
                continue
            if label not in LABELS or kind not in ("role_specific", "contrastive"):
                raise InvalidInput(
                    f"{name}, line {reader.line_num}: label {label!r} of kind {kind!r}; known: {', '.join(LABELS)}."
                )
            counted.setdefault(row["model"].removeprefix("'"), {}).setdefault(kind, Counter())[label] += 1
    if not counted:
        raise InvalidInput(f"nothing is labelled in {', '.join(sheets)}: fill in the column label with {', '.join(LABELS)}.")
    return counted


def figure(labels: Labels) -> str:
    """The page with a bar for each label of each model, and the counts by kind."""
    models = sorted(labels)
    bars, rows = [], []
    for model in models:
        total = sum(labels[model].values(), Counter[str]())
        for number, label in enumerate(LABELS):
            share = total[label] / total.total()
            bars.append(charts.Bar(model, label, number, share, share, share, 0.0, 1.0))
        for kind, counts in sorted(labels[model].items()):
            shares = [f"{counts[label]} ({counts[label] / counts.total():.0%})" for label in LABELS]
            rows.append([escape(model), kind.replace("_", " "), *shares])
    table = page.table(("model", "kind", *LABELS), rows)
    return page.page("Quality of questions by model", [charts.bars(bars, "Share of questions by label"), table])


def _safe(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula; models write what they like."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
