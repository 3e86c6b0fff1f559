"""Other libraries at the same work: 2,000 chat requests, 64 in flight, against the stub server, each in a process of its own.

A peer counts as installed where the repository's root has an environment of it, since their dependencies contradict ours:

    uv venv .venv-datatrove && uv pip install --python .venv-datatrove 'datatrove[io]' aiofiles aiohttp aiosqlite
    uv venv .venv-curator && uv pip install --python .venv-curator bespokelabs-curator
    uv venv .venv-distilabel && uv pip install --python .venv-distilabel 'distilabel[openai]' requests

In:   the stub's address and a number of requests, as arguments.
Out:  CPU seconds of the process and its children while it asks, imports not counted, and the replies that came back.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
ASKED, IN_FLIGHT = 2000, 64
SYSTEM = "You are Ada." * 100

_MEASURE = """
import json, os, resource, sys
address, asked, in_flight, system = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
def spent():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
def say(before, replies):
    print(json.dumps({"cpu": spent() - before, "replies": replies}))
"""
SCRIPTS = {
    "ditto": """
from ditto_core.generation.chat_api import ChatApiGenerator
from ditto_core.generation.requests import Request, Sampling
from ditto_core.memo import Memo
from ditto_core.memoised import MemoisedGenerator
from ditto_core.records import Message
from ditto_core.settings import GenerationSettings
engine = ChatApiGenerator(GenerationSettings(engine="chat-api", model="m", base_url=address, concurrency=in_flight))
requests = [Request((Message("system", system), Message("user", str(n))), Sampling()) for n in range(asked)]
before = spent()
memo = Memo("sqlite:///memo.db")
replies = len(list(MemoisedGenerator(engine.identity, lambda: engine, memo).generate(requests)))
engine.close()
memo.close()
say(before, replies)
""",
    "datatrove": """
import glob, gzip
from datatrove.data import Document
from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceRunner
from datatrove.pipeline.writers import JsonlWriter
async def ask(document, generate):
    messages = [{"role": "system", "content": system}, {"role": "user", "content": document.text}]
    return (await generate({"messages": messages})).text
from datatrove.pipeline.inference.servers.endpoint_server import EndpointServer
async def ready(self, **_):
    pass
EndpointServer._wait_until_ready = ready  # the stub has no page that says so
config = InferenceConfig("endpoint", "m", endpoint_url=address.removesuffix("/v1"), max_concurrent_generations=in_flight,
                         default_generation_params={"max_tokens": 512}, server_ready_delay_sec=0.1)
before = spent()
runner = InferenceRunner(ask, config, JsonlWriter("out", "${rank}-${chunk_index}.jsonl.gz"), checkpoints_local_dir="checkpoints")
runner.run((Document(str(n), str(n)) for n in range(asked)), 0, 1)
say(before, sum(len(gzip.open(path).readlines()) for path in glob.glob("out/*.gz")))
""",
    "curator": """
os.environ.update(CURATOR_CACHE_DIR="cache", OPENAI_API_KEY="none", TELEMETRY_ENABLED="false", CURATOR_DISABLE_RICH_DISPLAY="1",
                  HF_HUB_OFFLINE="1", LITELLM_LOCAL_MODEL_COST_MAP="True")
import tiktoken
class Words:  # its tokenizers are fetched from the web; splitting at spaces costs it less
    def encode(self, text, **_):
        return text.split()
tiktoken.get_encoding = tiktoken.encoding_for_model = lambda _: Words()
from bespokelabs import curator
prompts = [[{"role": "system", "content": system}, {"role": "user", "content": str(n)}] for n in range(asked)]
limits = {"base_url": address, "max_concurrent_requests": in_flight, "max_requests_per_minute": 10**7,
          "max_tokens_per_minute": 10**9}
before = spent()
result = curator.LLM(model_name="m", backend="openai", backend_params=limits)(prompts)
say(before, len(getattr(result, "dataset", result)))
""",
    "distilabel": """
os.environ.update(HF_HUB_OFFLINE="1", HF_HOME="hub")
from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps.tasks import TextGeneration
if __name__ == "__main__":
    with Pipeline(name="bench") as pipeline:
        llm = OpenAILLM(model="m", base_url=address, api_key="none", generation_kwargs={"max_new_tokens": 512})
        TextGeneration(llm=llm, system_prompt=system, input_batch_size=in_flight)
    before = spent()
    made = pipeline.run(dataset=[{"instruction": str(n)} for n in range(asked)], use_cache=False)
    say(before, len(made["default"]["train"]))
""",
}


def rows(address: str) -> list[tuple[str, float | str, str]]:
    """CPU of each peer over ours, or that it is not installed."""
    ours = cpu_seconds("ditto", Path(sys.executable), address)
    found: list[tuple[str, float | str, str]] = []
    for peer in ("datatrove", "curator", "distilabel"):
        python = ROOT / f".venv-{peer}" / "bin" / "python"
        measured = cpu_seconds(peer, python, address) / ours if python.exists() else "not installed"
        found.append((f"{peer}, client CPU of {ASKED:,} requests over ours with its memo", measured, "above 1"))
    return found


def cpu_seconds(peer: str, python: Path, address: str) -> float:
    """CPU seconds of one peer.

    Raises:
        RuntimeError: It did not answer every request.
    """
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "peer.py"
        script.write_text(_MEASURE + SCRIPTS[peer], "utf-8")
        command = [str(python), str(script), address, str(ASKED), str(IN_FLIGHT), SYSTEM]
        environment = {"PATH": "/usr/bin:/bin", "HOME": folder, **({"PYTHONPATH": str(ROOT)} if peer == "ditto" else {})}
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, env=environment)
    said = json.loads(done.stdout.strip().splitlines()[-1]) if done.returncode == 0 else {"replies": 0}
    if said["replies"] != ASKED:
        raise RuntimeError(f"{peer} gave {said['replies']} of {ASKED} replies: {done.stderr[-2000:]}")
    return float(said["cpu"])
