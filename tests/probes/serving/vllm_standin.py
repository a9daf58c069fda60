"""A stand-in for the `vllm` program: a real HTTP server on loopback with vLLM's endpoints, and a client for it.

`vllm serve` answers /health, /v1/models, /v1/completions, /v1/chat/completions and /tokenize, streams by server-sent events, and logs
in vLLM 0.33.0's words; the real `vllm bench serve` of 0.33.0 has been run against it. `vllm bench serve` measures by the
same requests and saves the keys of the real one. What is to go wrong is told by the variable STANDIN, a JSON object:

    format    only servers of this quant_method do so
    start     segfault, illegal, no_image, stall (no log, after tuning began), hang, taken (the port)
    unwell    /health answers 503 from this request on
    mute      /health never answers from this request on
    die       the process dies of SIGKILL at this request
    refuse    every request from this one on is answered 500
    drift     answers change from this request on
    delay     seconds a token
    kernel    the word in the log's line
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

SERVE = {
    "--served-model-name", "--load-format", "--host", "--port", "--max-model-len", "--max-num-seqs",
    "--gpu-memory-utilization", "--seed", "--limit-mm-per-prompt", "--mm-processor-cache-gb",
}  # fmt: skip
BENCH = {
    "--backend", "--endpoint", "--dataset-name", "--base-url", "--model", "--tokenizer",
    "--random-input-len", "--random-output-len", "--random-range-ratio", "--num-prompts",
    "--max-concurrency", "--num-warmups", "--temperature", "--seed", "--percentile-metrics",
    "--metric-percentiles", "--ready-check-timeout-sec", "--result-dir", "--result-filename",
    "--random-mm-base-items-per-request", "--random-mm-num-mm-items-range-ratio",
    "--random-mm-limit-mm-per-prompt", "--random-mm-bucket-config",
}  # fmt: skip
FLAGS = {"--no-enable-prefix-caching", "--ignore-eos", "--disable-tqdm", "--save-result"}


def options(arguments: list[str], known: set[str]) -> dict[str, str]:
    """Read options as vLLM does; one that it does not know ends it with code 2."""
    told, rest = {}, list(arguments)
    while rest:
        name = rest.pop(0)
        if name in FLAGS:
            told[name] = ""
        elif name in known and rest:
            told[name] = rest.pop(0)
        else:
            sys.stderr.write(f"vllm: error: unrecognized arguments: {name}\n")
            sys.exit(2)
    return told


def log(text: str, level: str = "INFO", who: str = "EngineCore") -> None:
    print(f"({who} pid={os.getpid()}) {level} 11-21 11:32:15 {text}", flush=True)  # noqa: T201 - its log


class Handler(BaseHTTPRequestHandler):
    """One connection; `server` is a `Model`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Model

    def do_GET(self) -> None:
        if self.path == "/health":
            if self.server.past("mute"):
                time.sleep(3600)
            self._answer(503 if self.server.past("unwell") else 200, b"")
        elif self.path == "/v1/models":
            card = {"id": self.server.name, "object": "model", "owned_by": "vllm"}
            self._answer(200, json.dumps({"object": "list", "data": [card]}).encode())
        else:
            self._answer(404, b"{}")

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path in ("/tokenize", "/detokenize"):
            self._answer(404, b"{}")
            return
        self.server.count += 1
        if self.server.past("die"):
            os.kill(os.getpid(), signal.SIGKILL)
        if asked.get("model") != self.server.name:
            self._answer(404, b'{"error": {"message": "The model does not exist."}}')
        elif self.server.past("refuse"):
            log("[serving.py:10] Error in request", "ERROR", "APIServer")
            self._answer(500, b'{"error": {"message": "Internal server error"}}')
        else:
            self._generate(asked)

    def _generate(self, asked: dict[str, Any]) -> None:
        chat = self.path.endswith("chat/completions")
        count = asked.get("max_tokens") or asked.get("max_completion_tokens") or 16
        word = " bad" if self.server.past("drift") else " abc"
        usage = {"prompt_tokens": 8, "completion_tokens": count, "total_tokens": 8 + count}
        if not asked.get("stream"):
            time.sleep(count * self.server.delay)
            text = word * count
            choice = {"index": 0, "text": text, "message": {"content": text}}
            told = {"id": "cmpl-1", "choices": [choice], "usage": usage}
            self._answer(200, json.dumps(told).encode())
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for _ in range(count):
            time.sleep(self.server.delay)
            part = {"delta": {"content": word}} if chat else {"text": word}
            self._event({"id": "cmpl-1", "choices": [{"index": 0, **part}]})
        self._event({"id": "cmpl-1", "choices": [], "usage": usage})
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _event(self, content: dict[str, Any]) -> None:
        self._chunk(b"data: " + json.dumps(content).encode() + b"\n\n")

    def _chunk(self, content: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
        self.wfile.flush()

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        print("INFO:     " + format % args, flush=True)  # noqa: T201 - vLLM's access log


class Model(ThreadingHTTPServer):
    """A server of one model, which does what STANDIN tells."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, name: str, wrong: dict[str, Any]) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.name = name
        self.wrong = wrong
        self.count = 0
        self.delay = float(wrong.get("delay", 0.0005))

    def past(self, what: str) -> bool:
        return what in self.wrong and self.count >= int(self.wrong[what])


def serve(arguments: list[str]) -> None:
    folder, told = Path(arguments[0]), options(arguments[1:], SERVE)
    config = json.loads((folder / "config.json").read_text())
    form = config["quantization_config"]["quant_method"]
    wrong: dict[str, Any] = json.loads(os.environ.get("STANDIN", "{}"))
    if form not in wrong.get("format", form):
        wrong = {}
    log(f"[model.py:744] Resolved architecture: {config['architectures'][0]}", who="APIServer")
    native = "FlashInferCutlassNvFp4LinearKernel"
    if form != "awq":
        log(f"[__init__.py:1303] Using {wrong.get('kernel', native)} for NVFP4 GEMM")
    start(wrong.get("start", ""))
    log("[gpu_model_runner.py:4112] Graph capturing finished in 3 secs, took 0.37 GiB")
    server = Model(int(told["--port"]), told["--served-model-name"], wrong)
    log(
        f"[api_server.py:46] Starting vLLM server on http://127.0.0.1:{server.server_port}",
        who="APIServer",
    )
    server.serve_forever()


def start(fault: str) -> None:
    """Go wrong while starting, as vLLM's processes do."""
    if fault in ("segfault", "illegal"):
        os.kill(os.getpid(), signal.SIGSEGV if fault == "segfault" else signal.SIGILL)
    if fault == "engine":
        told = "Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore_DP0': -11}"
        sys.exit(f"(APIServer pid=1) RuntimeError: {told}")
    if fault == "no_image":
        log("[core.py:1012] EngineCore failed to start.", "ERROR")
        log("[core.py:1012] Traceback (most recent call last):", "ERROR")
        log(
            "[core.py:1012] torch.AcceleratorError: CUDA error: no kernel image is available for execution on the device",
            "ERROR",
        )
        sys.exit(1)
    if fault == "taken" and not Path(os.environ["STANDIN_ONCE"]).exists():
        Path(os.environ["STANDIN_ONCE"]).touch()
        sys.exit("OSError: [Errno 98] Address already in use")
    if fault in ("stall", "hang"):
        if fault == "stall":
            log("[autotuner.py:458] flashinfer.jit: [Autotuner]: Autotuning process starts ...")
        threading.Event().wait()


def bench(arguments: list[str]) -> None:
    told = options(arguments, BENCH)
    count, streams = int(told["--num-prompts"]), int(told["--max-concurrency"])
    host = told["--base-url"].removeprefix("http://")
    asked = {
        "model": told["--model"], "prompt": "abc", "stream": True,
        "max_tokens": int(told["--random-output-len"]),
    }  # fmt: skip

    def one(_: int) -> list[float]:
        connection = http.client.HTTPConnection(host)
        begun = time.perf_counter()
        times: list[float] = []
        try:
            connection.request("POST", told["--endpoint"], json.dumps(asked))
            answer = connection.getresponse()
            if answer.status != 200:
                return []
            times += [time.perf_counter() - begun for line in answer if b'"index"' in line]
        except (OSError, http.client.HTTPException):
            return []
        return times

    if not one(0):
        sys.exit(
            "ValueError: Initial test run failed - Please make sure benchmark arguments are correctly specified. Error: Internal Server Error"
        )
    begun = time.perf_counter()
    with ThreadPoolExecutor(streams) as threads:
        done = [times for times in threads.map(one, range(count)) if times]
    seconds = time.perf_counter() - begun
    tokens = sum(map(len, done))
    first = [times[0] * 1e3 for times in done] or [0.0]
    gaps = [(b - a) * 1e3 for times in done for a, b in pairwise(times)] or [0.0]
    saved: dict[str, Any] = {
        "date": "20261121-113215", "endpoint_type": told["--backend"], "backend": told["--backend"],
        "label": None, "model_id": told["--model"], "tokenizer_id": told["--tokenizer"],
        "num_prompts": count, "request_rate": "inf", "burstiness": 1.0, "max_concurrency": streams,
        "duration": seconds, "completed": len(done), "failed": count - len(done),
        "total_input_tokens": len(done) * int(told["--random-input-len"]),
        "total_output_tokens": tokens, "request_throughput": len(done) / seconds,
        "output_throughput": tokens / seconds, "total_token_throughput": tokens / seconds,
    }  # fmt: skip
    for name, values in (("ttft", first), ("tpot", gaps), ("itl", gaps)):
        saved |= {
            f"mean_{name}_ms": statistics.mean(values),
            f"median_{name}_ms": statistics.median(values),
            f"std_{name}_ms": statistics.pstdev(values),
            f"p99_{name}_ms": sorted(values)[int(0.99 * len(values))],
        }
    Path(told["--result-dir"], told["--result-filename"]).write_text(json.dumps(saved))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2:])
    else:
        bench(sys.argv[3:])
