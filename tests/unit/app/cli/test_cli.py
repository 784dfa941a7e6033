"""The `tandem` command itself."""

import subprocess
import sys
from pathlib import Path


def test_commands_that_talk_to_a_node_do_not_wait_for_the_parts_of_one() -> None:
    heavy = "{'vllm', 'torch', 'transformers', 'pymilvus', 'sqlalchemy', 'fastapi', 'scipy', 'matplotlib'}"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, app.cli.main; print(sorted({heavy} & set(sys.modules)))"],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[4],
    )
    assert done.stdout.strip() == "[]"
