import io

from rich.console import Console

from app.cli.client.ingest import show_skipped


def test_what_was_skipped_is_printed_as_it_is_named() -> None:
    output = io.StringIO()
    job = {"skipped": [{"name": "a.zip/[b].exe", "reason": "It is damaged: it cannot be unpacked."}]}
    show_skipped(job, Console(file=output, width=200))
    show_skipped({}, Console(file=output))
    assert output.getvalue() == "a.zip/[b].exe was skipped: It is damaged: it cannot be unpacked.\n"
