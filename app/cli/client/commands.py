"""The commands that use a node most: ingest, search, audit, reembed, cancel."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.rule import Rule

from app.cli.client.audit import show_report
from app.cli.client.files import FileFilter, find_files, link_reporter
from app.cli.client.ingest import ingest_documents, ingest_files, summarise
from app.cli.client.jobs import cancel
from app.cli.client.keys import audit_log
from app.cli.client.node_client import Client
from app.cli.client.reembed import flipped, follow, read_chunking, read_golden, show_end
from app.cli.client.search import read_filter, show_hits
from app.cli.completion import collection_names, model_names
from app.cli.console import messages, results, stop_on_sigterm
from app.cli.exit_codes import Exit, print_json, print_line
from app.cli.input import STDIN, read_document, read_documents, read_metadata, read_questions
from app.cli.options import NODE, ApiKey, AsJson, CollectionName, Name, Url
from retrieval.errors import InvalidRequest
from retrieval.search.query import Mode

client_app = typer.Typer()
client_app.command("cancel")(cancel)
client_app.command("audit-log")(audit_log)

FIRST_WORDS = "Watching {}: Ctrl-C ends it."


@client_app.command()
def ingest(
    paths: Annotated[
        list[Path],
        typer.Argument(help='Files, folders, quoted patterns such as "docs/**/*.md", or - for standard input.'),
    ],
    collection: CollectionName = "docs",
    include: Annotated[
        list[str] | None, typer.Option(help="Only files in folders that match: *.md, guides/**. Repeatable.")
    ] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Skip files and folders that match. Repeatable.")] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Metadata of every document: year=2024, team=kiln. Repeatable."),
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option("--group", "-g", help="Group that may read them, in a collection with principals. Repeatable."),
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="Language of every document (ISO 639), such as en or zh. Default: detected.")
    ] = None,
    jsonl: Annotated[
        bool,
        typer.Option("--jsonl", help='The files contain documents, one a line: {"id", "text", "title", "metadata"}.'),
    ] = False,
    name: Annotated[
        str | None, typer.Option(help="Id of the document on standard input. Default: derived from the content.")
    ] = None,
    media_type: Annotated[
        str | None, typer.Option(help="Media type of standard input, such as text/html. Default: detected.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Keep running and send what changes in the folders.")] = False,
    delete: Annotated[
        bool, typer.Option("--delete", help="With --watch, delete documents whose files are deleted.")
    ] = False,
    as_json: AsJson = False,
    url: Url = NODE,
    api_key: ApiKey = None,
) -> None:
    """Send files to a node and wait until they are searchable. Exit status 1 if documents failed."""
    groups = group or []
    values, file_filter = read_metadata(metadata or []), FileFilter(tuple(include or ()), tuple(exclude or ()))
    if STDIN in paths and len(paths) > 1:
        raise InvalidRequest("-: standard input cannot be combined with files; send them in a separate command.")
    if (name or media_type) and (paths != [STDIN] or jsonl):
        raise InvalidRequest("--name and --media-type are for one document on standard input: tandem ingest -")
    if delete and not watch:
        raise InvalidRequest("--delete requires --watch; to delete documents: tandem documents delete")
    if watch:
        if jsonl or STDIN in paths:
            raise InvalidRequest("--watch wants folders.")
        _watch(paths, file_filter, collection, values, groups, language, url, api_key, delete=delete, as_json=as_json)
        return
    with Client(url, api_key) as client:
        if jsonl:
            documents = read_documents(paths, values, language)
            receipts = ingest_documents(client, collection, documents, messages(), groups)
        elif paths == [STDIN]:
            document = read_document(name, media_type, values, language)
            receipts = ingest_documents(client, collection, [document], messages(), groups)
        else:
            files = find_files(paths, file_filter, link_reporter(messages()))
            receipts = ingest_files(client, collection, files, messages(), values, groups, language)
    if as_json:
        print_json({"documents": receipts})
        well = not any(receipt["error"] for receipt in receipts)
    else:
        well = summarise(receipts, results())
    if not well:
        raise typer.Exit(Exit.FAILURES)


def _watch(
    folders: list[Path],
    file_filter: FileFilter,
    collection: str,
    metadata: dict[str, object],
    groups: Sequence[str],
    language: str | None,
    url: str,
    api_key: str | None,
    *,
    delete: bool,
    as_json: bool,
) -> None:
    """Runs until Ctrl-C or SIGTERM, which is its regular end: status 0."""
    from app.cli.client.watch import Follower, Round, follow

    def show(done: Round) -> None:
        if as_json:
            print_line({"documents": done.receipts, "deleted": done.deleted, "kept": done.kept})
        else:
            show_round(done)

    def show_round(done: Round) -> None:
        if done.receipts:
            summarise(done.receipts, results())
        for id_ in done.deleted:
            results().print(f"{id_}: deleted from {collection}", markup=False, highlight=False)
        for id_ in done.kept:
            values = f"{id_}: its file has gone; the document stays (--delete would delete it)"
            results().print(values, markup=False, highlight=False)

    stop_on_sigterm()
    with suppress(KeyboardInterrupt), Client(url, api_key) as client:
        follower = Follower(
            client,
            collection,
            folders,
            file_filter,
            messages(),
            delete=delete,
            metadata=metadata,
            groups=groups,
            language=language,
        )
        messages().print(FIRST_WORDS.format(", ".join(map(str, folders))), markup=False, highlight=False)
        follow(follower, folders, show)


@client_app.command()
def search(
    query: Annotated[str, typer.Argument(help="The query, or - to read one query per line from standard input.")],
    collection: CollectionName = "docs",
    top_k: Annotated[int, typer.Option("--top-k", "-k", help="Number of hits.")] = 10,
    candidates: Annotated[
        int | None,
        typer.Option(help="Number of candidates to rerank. Default: as many of 50 as fit the node's time for it."),
    ] = None,
    mode: Annotated[
        Mode | None,
        typer.Option(help="Recall by vectors (dense), by words (sparse) or both. Default: what the server supports."),
    ] = None,
    rerank: Annotated[
        bool | None, typer.Option(help="Whether to rerank. Default: if the reranker supports the language.")
    ] = None,
    filter: Annotated[
        str | None,
        typer.Option(help='As JSON: {"type": "eq", "key": "metadata.year", "value": 2024}', metavar="JSON"),
    ] = None,
    language: Annotated[
        list[str] | None, typer.Option(help="Only documents in this language (ISO 639), such as en or zh. Repeatable.")
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(help="With --json: an optional part of a hit, such as text or section. Repeatable. Default: all."),
    ] = None,
    as_json: AsJson = False,
    url: Url = NODE,
    api_key: ApiKey = None,
) -> None:
    """Search a node."""
    if include and not as_json:
        raise typer.BadParameter("only with --json: the table has parts of its own", param_hint="--include")
    options = {
        "collection": collection,
        "top_k": top_k,
        "candidates": candidates,
        "mode": mode,
        "rerank": rerank,
        "filter": read_filter(filter),
        "languages": language,
        "include": include or None,
    }
    with Client(url, api_key) as client:
        if query == str(STDIN):
            questions = read_questions()
            answers = client.search_many(questions, **options)
        else:
            questions, answers = [], [client.search(query, **options)]
    if as_json:
        print_json({"results": answers} if questions else answers[0])
        return
    for place, answer in enumerate(answers):
        if questions:
            results().print(Rule(questions[place], align="left"))
        show_hits(answer, results())


@client_app.command()
def audit(
    repair: Annotated[bool, typer.Option("--repair", help="Repair what can be repaired.")] = False,
    collection: Annotated[
        str | None,
        typer.Option(
            "--collection",
            "-c",
            help="Audit only this collection. Default: all, and the originals.",
            autocompletion=collection_names,
        ),
    ] = None,
    as_json: AsJson = False,
    url: Url = NODE,
    api_key: ApiKey = None,
) -> None:
    """Compare the documents, vectors and originals of a node. Exit status 1 if findings remain."""
    with Client(url, api_key) as client:
        report = client.audit(collection, repair=repair)
    if as_json:
        print_json(report)
    else:
        show_report(report, results())
    if not report["clean"]:
        raise typer.Exit(Exit.FAILURES)


@client_app.command()
def reembed(
    collection: Name,
    models: Annotated[
        str | None,
        typer.Option(help="Model pair or embedding model, as in TANDEM_MODELS.", autocompletion=model_names),
    ] = None,
    dimension: Annotated[
        int | None, typer.Option(help="Dimension of the vectors, for models trained with shorter ones.")
    ] = None,
    chunking: Annotated[
        str | None, typer.Option(help="Maximum chunk length in tokens, or with the overlap: 512:64.")
    ] = None,
    section_prefix: Annotated[
        bool | None, typer.Option(help="Put the headings above a chunk before its text. Default: as it is now.")
    ] = None,
    qrels: Annotated[
        Path | None, typer.Option(help="Folder with queries and qrels.tsv. Default: the stored golden queries.")
    ] = None,
    tolerance: Annotated[float, typer.Option(min=0, max=1, help="Decrease of nDCG@10 to accept.")] = 0.01,
    gate: Annotated[bool, typer.Option(help="Switch only if the new version is as good.")] = True,
    rollback: Annotated[bool, typer.Option("--rollback", help="Restore the previous version.")] = False,
    as_json: AsJson = False,
    url: Url = NODE,
    api_key: ApiKey = None,
) -> None:
    """Re-embed a collection from its originals while it serves. Exit status 1 if the old version stays."""
    with Client(url, api_key) as client:
        if rollback:
            client.rollback(collection)
        else:
            messages().print("Starting" if models is None else f"Starting {models}")
            plan: dict[str, object] = {"models": models, "dimension": dimension, "tolerance": tolerance, "gate": gate}
            if section_prefix is not None:
                plan["section_prefix"] = section_prefix
            if chunking:
                plan["chunking"] = read_chunking(chunking)
            if qrels:
                plan["golden"] = read_golden(qrels)
            client.reembed(collection, **plan)
        status = follow(client, collection, messages())
    if as_json:
        print_json(status)
    else:
        show_end(status, results())
    if not flipped(status):
        raise typer.Exit(Exit.FAILURES)
