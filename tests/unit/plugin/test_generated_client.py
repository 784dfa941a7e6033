"""blocking.py is what generate_client.py makes of asynchronous.py."""

from pathlib import Path
from runpy import run_path

PLUGIN = Path(__file__).parents[3] / "retrieval" / "langchain-plugin"


def test_the_blocking_client_is_up_to_date() -> None:
    script = run_path(str(PLUGIN / "generate_client.py"))
    written = script["TARGET"].read_text(encoding="utf-8")
    assert written == script["blocking_client"](), "run python retrieval/langchain-plugin/generate_client.py"
