"""What NVIDIA's aiperf, unmodified, measures of a node's OpenAI and Cohere routes:
`python deploy/benchmarks/with_aiperf.py --url http://127.0.0.1:8080`.

Installs aiperf in an environment of its own, `.venv-aiperf`, on the first run. Prints a table; the exit status is 1 if
a request failed. The texts are made up, and no hub is asked.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from retrieval.models.hub import packaged_folder

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ROOT / ".venv-aiperf"
PACKAGE = "aiperf==0.13.0"
MINILM = "sentence-transformers/all-MiniLM-L6-v2"
COLUMNS = ("", "requests", "failed", "requests/s", "p50 ms", "p99 ms")


def install() -> Path:
    """Returns the path of the command. Takes minutes the first time."""
    command = ENVIRONMENT / "bin" / "aiperf"
    if not command.exists():
        print(f"Installing {PACKAGE} in {ENVIRONMENT.name}", file=sys.stderr)  # noqa: T201
        uv, python = [sys.executable, "-m", "uv"], ENVIRONMENT / "bin" / "python"
        subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, ENVIRONMENT], check=True)  # noqa: S603
        subprocess.run([*uv, "pip", "install", "--quiet", "--python", python, PACKAGE], check=True)  # noqa: S603
    return command


def routes(asked: argparse.Namespace) -> dict[str, list[str]]:
    tokens = str(asked.tokens)
    return {
        f"/v1/embeddings, {tokens} tokens": ["--endpoint-type", "embeddings", "--isl", tokens],
        f"/v2/rerank, {asked.candidates} × {tokens} tokens": [
            *("--endpoint-type", "cohere-rankings", "--rankings-query-prompt-token-mean", "16"),
            *("--rankings-passages-mean", str(asked.candidates), "--rankings-passages-prompt-token-mean", tokens),
        ],
    }


def measure(command: Path, asked: argparse.Namespace, options: Sequence[str]) -> dict[str, Any]:
    """Returns aiperf's own record. Raises SystemExit with the end of its output if it fails."""
    with TemporaryDirectory(prefix="tandem-aiperf-") as folder:
        done = subprocess.run(  # noqa: S603
            [
                *(command, "profile", "--url", asked.url, "--model", "tandem", "--tokenizer", str(asked.tokenizer)),
                *("--request-count", str(asked.requests), "--concurrency", str(asked.concurrency)),
                *("--warmup-request-count", str(asked.concurrency), "--random-seed", "7", "--ui", "none"),
                *("--no-gpu-telemetry", "--no-server-metrics", "--artifact-dir", folder),
                *(("--api-key", key) if (key := os.environ.get("TANDEM_API_KEY")) else ()),
                *options,
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        found = list(Path(folder).rglob("profile_export_aiperf.json"))
        if done.returncode or not found:
            raise SystemExit(f"aiperf failed (exit status {done.returncode}):\n{(done.stdout + done.stderr)[-3000:]}")
        record: dict[str, Any] = json.loads(found[0].read_text())
        return record


def row_of(name: str, record: dict[str, Any]) -> tuple[str, ...]:
    latency = record["request_latency"]
    return (
        name,
        f"{record['request_count']['avg']:.0f}",
        f"{failed(record):.0f}",
        f"{record['request_throughput']['avg']:.2f}",
        f"{latency['p50']:.0f}",
        f"{latency['p99']:.0f}",
    )


def failed(record: dict[str, Any]) -> float:
    return float((record.get("error_request_count") or {"avg": 0})["avg"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="of the node; key: TANDEM_API_KEY")
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=128, help="of a text")
    parser.add_argument("--candidates", type=int, default=20)
    parser.add_argument(
        "--tokenizer", type=Path, default=packaged_folder(MINILM), help="folder; by default that of minilm"
    )
    asked = parser.parse_args()
    command = install()
    records = {name: measure(command, asked, options) for name, options in routes(asked).items()}
    for row in (COLUMNS, ("---",) * len(COLUMNS), *(row_of(name, record) for name, record in records.items())):
        print("| " + " | ".join(row) + " |")  # noqa: T201
    return 1 if any(failed(record) for record in records.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
