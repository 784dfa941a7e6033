"""tandem audit: the findings of an audit, as a table."""

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

EXAMPLES = 5
"""Number of examples of each finding; `--json` has more."""

FINDINGS = {
    "chunks_without_document": (
        "chunks of documents that the catalog does not know",
        "Searches bring them up. Repaired by deleting them.",
    ),
    "documents_outdated": (
        "documents whose chunks are missing or not those of their last version",
        (
            "Repaired by writing them again. Send those again that cannot be repaired: failed ones and those without "
            "original."
        ),
    ),
    "failed_documents_with_chunks": (
        "failed documents that left chunks behind",
        "Repaired by deleting the chunks.",
    ),
    "collections_not_in_store": (
        "collections without their vectors",
        "Delete the collection, create it again and ingest its documents again.",
    ),
    "collections_not_in_catalog": (
        "collections in the store that the catalog does not know",
        "They may belong to another node on the same Milvus. If not, drop them in Milvus.",
    ),
    "originals_missing": (
        "documents whose original is missing",
        "Searchable ones stay searchable, but cannot be repaired. Send these documents again.",
    ),
    "blobs_without_owner": (
        "originals that no document refers to",
        "They take room, no more. Repaired by deleting them.",
    ),
}
"""Description of each kind of finding: what it is, what it means, and its remedy."""

NOTES = {
    "documents_moving": "documents were waiting, in work or changed while they were looked at; not judged",
    "documents_counted_only": "documents of an earlier release: their chunks were counted, not compared",
    "documents_waiting_long": "documents wait or are in work for longer than an hour: is a worker running?",
    "chunks_not_judged": "more chunks of unknown documents than one audit looks at: audit again after the repair",
    "collections_of_another_model": "collection of a model that this node does not run: its chunks cannot be repaired",
}


def show_report(report: dict[str, Any], console: Console) -> None:
    if report["findings"]:
        table = Table(box=None, pad_edge=False, show_header=True, header_style="bold")
        table.add_column("found", justify="right")
        table.add_column("repaired", justify="right")
        table.add_column("collection", overflow="fold")
        table.add_column("what", overflow="fold")
        for finding in report["findings"]:
            table.add_row(
                f"{finding['count']:,}", f"{finding['repaired']:,}", Text(finding["collection"] or "-"), _what(finding)
            )
        console.print(table)
    for note in report["notes"]:
        where = f" in {note['collection']}" if note["collection"] else ""
        console.print(Text(f"{note['count']:,} {NOTES[note['kind']]}{where}", style="dim"))
    extent = (
        f"{report['documents']:,} documents, {report['chunks']:,} chunks and {report['blobs']:,} originals "
        f"in {report['seconds']:.1f} s"
    )
    verdict = "Clean" if report["clean"] else "Findings are left"
    if not report["clean"] and not report["repair"]:
        verdict += "; `tandem audit --repair` repairs what can be repaired"
    console.print(f"{verdict}: {extent}.", markup=False, highlight=False)


def _what(finding: dict[str, Any]) -> Text:
    what, remedy = FINDINGS[finding["kind"]]
    text = Text(f"{what}. {remedy}")
    shown = finding["examples"][:EXAMPLES]
    more = ", …" if finding["count"] > len(shown) else ""
    return text.append(f"\n{', '.join(shown)}{more}", style="dim")
