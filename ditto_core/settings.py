"""Settings: everything that a person can choose, one model a stage, frozen, unknown keys refused.

The same models are the TOML file, the `--set stage.field=value` options and the form of the Prefect UI; configuration.py lays
those over each other.
"""

from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

_BOUNDS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}


def _say_bounds(schema: dict[str, Any]) -> None:
    """Put each field's bounds into its help, since the form of the Prefect UI shows nothing else of them."""
    for field in schema["properties"].values():
        bounds = ", ".join(f"{word} {field[name]:g}" for name, word in _BOUNDS.items() if name in field)
        if bounds:
            field["description"] = f"{field.get('description', '')} [{bounds}]".strip()


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, json_schema_extra=_say_bounds)


class KnowledgeSettings(_Section):
    """Which characters to collect, and from where."""

    sparql_endpoint: str = "https://query.wikidata.org/sparql"
    """SPARQL 1.1 endpoint over Wikidata's RDF; "embedded" starts one over the bundled world."""
    articles: Literal["api", "dump"] = "api"
    """Where articles come from: the MediaWiki Action API or an XML export."""
    article_api: str = "https://{lang}.wikipedia.org/w/api.php"
    """Action API; {lang} is the language's wiki code."""
    article_dump: str = "dumps/{lang}wiki.xml.bz2"
    """XML export: .xml, .gz or .bz2; "embedded" is the bundled one. A multistream one is read through the index beside it."""
    languages: tuple[str, ...] = Field(("en",), min_length=1)
    """Language codes; each is a folder of ditto_core/languages. The paper uses en and zh."""
    classes: tuple[str, ...] = Field(("Q5", "Q15632617"), min_length=1)
    """Classes to rank, as Q-ids: humans and fictional humans (paper, appendix A)."""
    max_characters: int = Field(4000, ge=1)
    """Characters per class and language, best known first (the paper ranks 5,000 and keeps about 3,900)."""
    subclasses: bool = False
    """Rank instances of subclasses too, such as television characters; a heavy question at Wikidata's own endpoint."""
    ranking: Literal["stored", "counted"] = "stored"
    """How fame is measured: the stored number of sitelinks, or counted as in the paper, which times out at Wikidata today."""
    max_values: int = Field(5, ge=1)
    """Values kept of one property of one character, such as children or awards."""
    contact: str = ""
    """Mail address or URL for the User-Agent; Wikimedia's own servers require one."""
    batch_size: int = Field(50, ge=1, le=500)
    """Characters per facts query; halved when a query fails."""
    timeout_s: float = Field(60.0, gt=0)
    """Seconds that one request may take."""
    article_limit_s: float = Field(30.0, gt=0)
    """Seconds that one article may take to become prose; then it is given up as "article_too_slow"."""
    snapshot: str = Field("default", pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$")
    """Name of the folder of raw answers below data_root/snapshots: what it holds is not asked again. A new name asks anew."""
    offline: bool = False
    """Answer everything from the snapshot, ask nobody."""

    @field_validator("classes")
    @classmethod
    def _are_items(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        for item in classes:
            if not (item.startswith("Q") and item[1:].isdigit()):
                raise ValueError(f"{item!r} is not a Wikidata item; expected the form Q5")
        return classes


class GenerationSettings(_Section):
    """The seed LLM and the engine that runs it."""

    engine: Literal["auto", "vllm", "transformers", "chat-api", "scripted"] = "auto"
    """auto: vllm where it is installed and a GPU is there, else transformers."""
    model: str = "Qwen/Qwen2.5-7B-Instruct"
    """Folder or hub id of the model; for chat-api the name that the server knows. "embedded" and "embedded-small" are bundled."""
    revision: str = ""
    """chat-api: your name for the weights behind the server; change it when they change. Enters every row key. Of a hub id: its
    branch, tag or commit."""
    base_url: str = "http://127.0.0.1:8000/v1"
    """chat-api: address of an OpenAI-compatible server. The key comes from DITTO_API_KEY."""
    replicas: tuple[str, ...] = ()
    """chat-api: more servers with the same model; requests are spread evenly over all. Speed only."""
    max_model_len: int = Field(8192, ge=64)
    """Tokens of prompt and reply together (paper section 3.3)."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the weights in memory."""
    batch_size: int = Field(32, ge=1)
    """transformers: prompts that run together. Speed only."""
    concurrency: int = Field(64, ge=1)
    """chat-api: requests in flight at most, over all servers; fewer while they are crowded. Speed only."""
    timeout_s: float = Field(600.0, gt=0)
    """chat-api: seconds that one request may take, retries included. Speed only."""
    gpu_memory_utilization: float = Field(0.9, gt=0, le=1)
    """vllm: share of the GPU's memory. Speed only."""
    kv_cache_gib: float = Field(0.0, ge=0)
    """vllm: GiB of key-value cache; 0 is what gpu_memory_utilization leaves, on a CPU 1. Speed only."""
    tensor_parallel_size: int = Field(1, ge=1)
    """vllm: GPUs that share one copy of the model. Speed only."""
    data_parallel_size: int = Field(1, ge=1)
    """vllm: copies of the model, each on GPUs of its own; a character's requests go to the same copy. Speed only."""
    prefix_caching: bool = True
    """vllm: keep what prompts begin with, such as a profile, for the next prompt. Speed only."""
    adapter: str = ""
    """vllm, transformers: folder or hub id of a LoRA adapter (PEFT) laid over the model. Enters every row key."""
    script: str = ""
    """scripted: JSON Lines file of {"match": regex, "reply": text}; the first match of a prompt answers it."""

    @model_validator(mode="after")
    def _adapters_are_laid_over_weights(self) -> "GenerationSettings":
        if self.adapter and self.engine in ("chat-api", "scripted"):
            raise ValueError(
                f"adapter {self.adapter!r} is for engines that load weights; a server knows its adapters as models of their own: "
                f"set model to the adapter's name there"
            )
        return self


class SimulationSettings(_Section):
    """Query and response simulation (paper section 3.3, appendix B)."""

    queries_per_pair: int = Field(3, ge=1, le=20)
    """Questions asked for per pair (paper: 3)."""
    partners: int = Field(1, ge=1, le=8)
    """Partners per role; each gives one pair, so one list of role-specific and one of contrastive questions."""
    query_mode: Literal["schema", "samples"] = "samples"
    """schema: the engine constrains the reply to the JSON schema. samples: draw, keep the first valid one (paper)."""
    query_samples: int = Field(3, ge=1, le=16)
    """Draws per pair in samples mode (paper: 3)."""
    temperature: float = Field(0.7, ge=0, le=2)
    """Of both simulations; the paper gives none, 0.7 is the seeds' own default."""
    top_p: float = Field(0.8, gt=0, le=1)
    """Paper section 3.3."""
    repetition_penalty: float = Field(1.1, ge=1, le=2)
    """Paper section 3.3."""
    max_query_tokens: int = Field(1024, ge=16)
    """New tokens of a query list."""
    max_response_tokens: int = Field(2048, ge=8)
    """New tokens of a response (paper section 3.3)."""
    profile_tokens: int = Field(3000, ge=32)
    """Budget of one profile in a prompt; two must fit beside the reply (paper: sequence 8,192)."""
    history_turns: int = Field(0, ge=0, le=20)
    """Earlier exchanges of the session shown before each question; 0 asks each question alone (paper)."""
    evidence: int = Field(3, ge=1, le=10)
    """Claims and sentences kept as evidence per question."""


class DatasetSettings(_Section):
    """How sessions become rows."""

    imported: str = ""
    """Folder, below the data root, of a dataset that `ditto import` made; then nothing is assembled."""
    validation_share: float = Field(0.05, ge=0, lt=1)
    """Share of roles, by hash."""
    test_share: float = Field(0.1, ge=0, lt=1)
    """Share of roles, by hash; they never train."""
    turns_per_session: int = Field(5, ge=1)
    """Turns of one conversation at most (paper: 36,164 / 7,086)."""
    contrastive_share: float = Field(0.5, ge=0, le=1)
    """Contrastive turns among a training role's turns at most (paper: about half)."""
    min_turns: int = Field(1, ge=1)
    """Sessions with fewer are filtered as "too_few_turns"."""
    test_questions: int = Field(5, ge=1)
    """Turns per test session (paper: 498 / 100)."""
    max_assistant_cues: int = Field(0, ge=0)
    """Phrases of an assistant in an answer at most; more is filtered as "assistant_speak"."""
    max_profile_cues: int = Field(0, ge=0)
    """Phrases about the notes that the seed LLM was shown; more is filtered as "profile_talk"."""
    min_script_share: float = Field(0.5, ge=0, le=1)
    """Share of an answer's letters in the language's own script; less is filtered as "wrong_language"."""
    min_function_words: float = Field(0.1, ge=0, le=1)
    """Share of function words in an answer of 8 words or more, where spaces part words; less is "wrong_language"."""
    refusals: Literal["cues", "judge"] = "cues"
    """How a refusal is seen: by the language's phrases, or by asking `evaluation.judge_generation` about each turn."""
    refusal_cues: int = Field(1, ge=1)
    """Phrases of refusal from which an answer counts as one."""
    near_duplicate: float = Field(0.9, gt=0, le=1)
    """Similarity (Jaccard, by MinHash) of two turns of a role from which the later one is filtered; 1: only the same."""
    max_self_introductions: int = Field(1, ge=0)
    """Answers of a training session that say who speaks at most (paper section 3.3: no repeated identity)."""
    toxicity: str = ""
    """Your own check, "module:function", from an answer to a score of 0 to 1; "" is none."""
    max_toxicity: float = Field(0.5, ge=0, le=1)
    """Score above which an answer is filtered as "toxic"."""

    @model_validator(mode="after")
    def _shares_leave_train(self) -> "DatasetSettings":
        if self.validation_share + self.test_share >= 1:
            raise ValueError("validation_share + test_share must leave something to train on (below 1)")
        return self


class TrainingSettings(_Section):
    """Supervised fine-tuning with the profiles taken away (paper section 3.4, appendix C)."""

    model: str = ""
    """Folder of the seed LLM to tune; "" is generation.model, which then learns from itself (self-alignment)."""
    max_steps: int = Field(300, ge=1)
    """Optimizer steps (appendix C)."""
    global_batch: int = Field(128, ge=1)
    """Conversations per step over all devices (appendix C); with `packing`, sequences."""
    device_batch: int = Field(1, ge=1)
    """Conversations per device and forward pass; the rest is gradient accumulation."""
    learning_rate: float = Field(2e-6, gt=0)
    """Peak (appendix C)."""
    min_learning_rate: float = Field(2e-7, ge=0)
    """Where the cosine ends (appendix C)."""
    warmup_share: float = Field(0.1, ge=0, lt=1)
    """Share of steps (appendix C)."""
    max_length: int = Field(8192, ge=32)
    """Tokens per sequence (appendix C)."""
    packing: bool = False
    """Several conversations per sequence; a step then counts sequences, so an epoch has fewer. Pays with flash attention."""
    bf16: bool = True
    """bfloat16 autocast; off on CPUs."""
    gradient_checkpointing: bool = True
    """Recompute activations to save memory."""
    lora_rank: int = Field(0, ge=0)
    """0 trains all weights (paper); above 0 trains an adapter of that rank and merges it."""
    mix_in: str = ""
    """Parquet file with a column `messages`, such as `ditto import` writes, to mix into the role-play rows; "" is none."""
    mix_share: float = Field(0.0, ge=0, lt=1)
    """Share of the conversations that come from `mix_in`; they are drawn by `seed`."""
    keep: Literal["last", "best"] = "last"
    """last: the weights of the last step (paper). best: of the checkpoint with the lowest loss on held-out roles."""
    accelerate: str = ""
    """A configuration of accelerate: the path of a .yaml file, or one that TRL ships (multi_gpu, fsdp2, zero3 ...); "" takes
    all GPUs, several with FSDP."""
    seed: int = 42
    """Of data order."""
    save_steps: int = Field(50, ge=1)
    """Steps between checkpoints; with keep=best also between evaluations."""
    audit_rows: int = Field(64, ge=1)
    """Rows whose trained spans are decoded and compared before the first step."""


class ModelSettings(_Section):
    """A model by a name of its own, such as a row of the leaderboard or a side of the matrix."""

    name: str = Field(min_length=1, max_length=60, pattern=r"^[^{}|<>\n]+$")
    """Shown in tables and file names; one model a name."""
    generation: GenerationSettings
    """Engine and model."""
    system_role: bool = True
    """False: its chat template knows no system role, so what would stand there opens the first turn."""


class SeedSettings(_Section):
    """A model to fine-tune, by a name of its own."""

    name: str = Field(min_length=1, max_length=60, pattern=r"^[^{}|<>\n]+$")
    """Shown in tables and file names; one model a name."""
    model: str
    """Folder or hub id, as training.model takes it."""
    system_role: bool = True
    """As in a model under test."""


class EvaluationSettings(_Section):
    """WikiRoleEval (paper section 4)."""

    test_file: str = ""
    """Test sessions as WikiRoleEval's JSON Lines, such as the authors' own file; "" is the dataset's test split."""
    context: Literal["identity", "profile", "instructions"] = "identity"
    """What stands before a session. identity: one line (paper section 4). profile: the simulation's prompt with the whole
    profile, which measures a supervisor (section 6). instructions: the same prompt without the profile (table 3)."""
    system_role: bool = True
    """Of the seed LLM; False: its chat template knows no system role, so what would stand there opens the first turn."""
    runs: int = Field(1, ge=1, le=20)
    """Times that every session is played; each is a draw of its own where temperature is above 0."""
    models: tuple[ModelSettings, ...] = ()
    """More models to evaluate beside the seed and the tuned one."""
    mt_bench: str = ""
    """Role-play questions of MT-Bench: "own" are ours, else a file in the public format; "" is none. Needs the LLM judge."""
    judge: Literal["lexical", "llm"] = "lexical"
    """lexical: deterministic, without a model. llm: `judge_generation` answers the judging prompts."""
    judge_generation: GenerationSettings = GenerationSettings()
    """Engine and model of the LLM judge."""
    votes: int = Field(3, ge=1, le=9)
    """Votes of the LLM judge (paper: 3)."""
    judge_by: Literal["words", "letters"] = "words"
    """words: the LLM judge gives a reason and a verdict (paper). letters: identity and rejection are the likelier one of single
    letters, one token a vote; knowledge, and what the engine gives no chances for, stay in words."""
    judge_temperature: float = Field(0.2, ge=0, le=2)
    """Paper section 4."""
    max_judge_tokens: int = Field(512, ge=1)
    """New tokens of a verdict."""
    temperature: float = Field(0.0, ge=0, le=2)
    """Of the model under test; 0 is greedy."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Of the model under test."""
    max_answer_tokens: int = Field(512, ge=8)
    """New tokens of an answer."""
    bootstrap: int = Field(1000, ge=100)
    """Resamples behind the 95 % intervals."""
    seed: int = 7
    """Of the bootstrap."""

    @field_validator("models")
    @classmethod
    def _have_names_of_their_own(cls, models: tuple[ModelSettings, ...]) -> tuple[ModelSettings, ...]:
        return _named_apart(models, ("before", "after"))

    @model_validator(mode="after")
    def _mt_bench_needs_a_model(self) -> "EvaluationSettings":
        if self.mt_bench and self.judge != "llm":
            raise ValueError('evaluation.mt_bench is graded by a model: set evaluation.judge = "llm" and judge_generation')
        return self


class MatrixSettings(_Section):
    """Cross-supervision (paper section 6, figure 5): every supervisor teaches every seed."""

    supervisors: tuple[ModelSettings, ...] = ()
    """Models that write questions and answers."""
    seeds: tuple[SeedSettings, ...] = ()
    """Models that are fine-tuned on them."""

    @field_validator("supervisors", "seeds")
    @classmethod
    def _have_names_of_their_own(cls, models: tuple[Any, ...]) -> tuple[Any, ...]:
        return _named_apart(models, ())


class AblationSettings(_Section):
    """What `ditto ablate` varies."""

    turns: tuple[int, ...] = (1, 3, 5)
    """Values of dataset.turns_per_session."""
    contrastive_shares: tuple[float, ...] = (0.0, 0.25, 0.5)
    """Values of dataset.contrastive_share."""


def _named_apart(models: tuple[Any, ...], taken: tuple[str, ...]) -> tuple[Any, ...]:
    names = [*taken, *(model.name for model in models)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"each model needs a name of its own; given more than once: {', '.join(twice)}")
    return models


class Settings(_Section):
    """All of a run."""

    data_root: str = "ditto-data"
    """Folder of shards, datasets, models and reports."""
    memo_url: str = ""
    """Database of completions; "" is SQLite in the data root, postgresql+psycopg://user@host/name when hosts share one."""
    shared_store: str = ""
    """URL of a folder that machines share, such as s3://bucket/ditto: shards and versions are sent there, and shards fetched
    from there where a machine lacks them. "" where they share a file system, or there is one machine."""
    shards: int = Field(8, ge=1)
    """Shards per language. Changing it re-reads the memo and asks the model nothing."""
    dask: str = ""
    """Where shards are worked on: "" in threads of the flow's process, "local" on a Dask cluster of this machine, or the
    address of a scheduler, such as tcp://10.0.0.1:8786, whose workers see the same memo and data root, or shared store."""
    knowledge: KnowledgeSettings = KnowledgeSettings.model_construct()
    generation: GenerationSettings = GenerationSettings()
    simulation: SimulationSettings = SimulationSettings()
    dataset: DatasetSettings = DatasetSettings()
    training: TrainingSettings = TrainingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    matrix: MatrixSettings = MatrixSettings()
    ablations: AblationSettings = AblationSettings()

    @field_validator("memo_url", "shared_store")
    @classmethod
    def _holds_no_password(cls, url: str, info: ValidationInfo) -> str:
        if urlsplit(url).password:
            where = "since settings are shown in the Prefect UI: set it in the environment, such as PGPASSWORD"
            raise PydanticCustomError("secret", f"leave the password out of {info.field_name}, {where}")
        return url

    @model_validator(mode="after")
    def _dask_finds_its_data(self) -> "Settings":
        if self.dask not in ("", "local"):
            if "://" not in self.dask:
                raise ValueError(f'dask {self.dask!r}: expected "", "local" or an address such as tcp://10.0.0.1:8786')
            if not Path(self.data_root).is_absolute():
                raise ValueError(f"data_root {self.data_root!r} must be an absolute path, since Dask's workers start elsewhere")
        return self

    def shown(self) -> dict[str, Any]:
        """What reports and cards tell of a run: all that shapes it, and not where it ran."""
        return self.model_dump(mode="json", exclude={"data_root", "memo_url", "shared_store", "dask"})

    @property
    def effective_memo_url(self) -> str:
        """`memo_url`, or the SQLite file in the data root."""
        return self.memo_url or f"sqlite:///{Path(self.data_root) / 'memo.db'}"
