"""A collection that follows a folder: what each round sends and deletes."""

from collections.abc import Iterator, Mapping
from errno import EACCES
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import app.cli.client.watch
from app.cli.client.files import FileFilter
from app.cli.client.watch import Follower, Round, follow
from langchain_tandem.client import NodeUnreachable, Refused, TandemClientError
from retrieval.errors import InvalidRequest


class Node:
    """What was sent to it in `requests`, and what it holds. `away` and `busy` are raised while they are set."""

    url = "http://node"

    def __init__(self) -> None:
        self.requests: list[list[str]] = []
        self.holds: dict[str, str] = {}
        self.metadata: Mapping[str, Any] | None = None
        self.refuses = "refused"
        self.away: TandemClientError | None = None
        self.busy: TandemClientError | None = None

    def ingest_files(
        self,
        _: str,
        files: list[tuple[str, Path]],
        metadata: Mapping[str, Any] | None = None,
        groups: object = None,
        language: str | None = None,
    ) -> object:
        if self.away:
            raise self.away
        contents = {id_: path.read_text() for id_, path in files}
        if "unreadable" in contents.values():
            raise PermissionError(EACCES, "Permission denied")
        if self.refuses in contents.values():
            raise Refused("Empty. (empty_text)", code="empty_text", status=422, retry_after=1)
        self.requests.append(list(contents))
        self.holds |= contents
        self.metadata = metadata
        return {"job_id": str(len(self.requests) - 1)}

    def watch(self, job_id: str) -> Iterator[dict[str, Any]]:
        yield {"state": "succeeded", "progress": {"done": len(self.requests[int(job_id)])}}

    def job(self, job_id: str, *, receipts: bool) -> dict[str, Any]:
        return {"documents": [{"id": id_} for id_ in self.requests[int(job_id)]]}

    def delete_document(self, id_: str, *, collection: str) -> None:
        if self.busy:
            raise self.busy
        if id_ not in self.holds:
            raise Refused("Not there.", code="document_not_found", status=404, retry_after=1)
        del self.holds[id_]


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
def said() -> StringIO:
    return StringIO()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.md", "sub/b.md", ".hidden", "c.md~"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def following(node: Node, said: StringIO, *folders: Path, delete: bool = False, **choice: tuple[str, ...]) -> Follower:
    console = Console(file=said, width=200)
    return Follower(node, "docs", folders, FileFilter(**choice), console, delete=delete, metadata={"team": "kiln"})  # type: ignore[arg-type]


def test_first_everything_then_only_what_changed(node: Node, said: StringIO, folder: Path) -> None:
    follower = following(node, said, folder)
    assert [each["id"] for each in follower.sync().receipts] == ["a.md", "sub/b.md"]
    assert follower.sync() == Round()
    (folder / "a.md").write_text("changed")
    (folder / "sub" / "new.md").write_text("new")
    (folder / "sub" / "new.md~").write_text("an editor's")
    follower.sync()
    assert node.requests == [["a.md", "sub/b.md"], ["a.md", "sub/new.md"]]
    assert node.metadata == {"team": "kiln"}


def test_links_that_leave_the_folder_are_never_sent_and_reported_once(
    node: Node, said: StringIO, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "secret.md"
    outside.write_text("secret")
    (folder / "link.md").symlink_to(outside)
    (folder / "here.md").symlink_to("a.md")
    (folder / "loop").symlink_to(".")
    follower = following(node, said, folder)
    follower.sync()
    (folder / "here.md").unlink()
    (folder / "here.md").symlink_to(outside)
    outside.write_text("changed")
    follower.sync()
    follower.sync()
    assert node.requests == [["a.md", "here.md", "sub/b.md"]]
    assert said.getvalue().count("link.md was skipped") == 1
    assert said.getvalue().count("here.md was skipped") == 1


def test_a_burst_goes_in_one_request(node: Node, said: StringIO, folder: Path) -> None:
    for number in range(50):
        (folder / f"n{number:02}.md").write_text(str(number))
    follower = following(node, said, folder, include=("n*.md",))
    follower.sync()
    assert [len(each) for each in node.requests] == [50]


def test_deleted_files_stay_unless_asked_otherwise(node: Node, said: StringIO, folder: Path) -> None:
    follower = following(node, said, folder)
    follower.sync()
    (folder / "a.md").rename(folder / "z.md")
    done = follower.sync()
    assert ([each["id"] for each in done.receipts], done.kept, done.deleted) == (["z.md"], ["a.md"], [])
    assert node.holds.keys() == {"a.md", "sub/b.md", "z.md"}
    assert follower.sync() == Round()


def test_deleted_files_are_deleted_where_asked(node: Node, said: StringIO, folder: Path) -> None:
    follower = following(node, said, folder, delete=True)
    follower.sync()
    node.holds["other.md"] = "somebody else's"
    del node.holds["sub/b.md"]
    (folder / "a.md").unlink()
    (folder / "sub" / "b.md").unlink()
    assert follower.sync().deleted == ["a.md", "sub/b.md"]
    assert node.holds.keys() == {"other.md"}


def test_a_folder_that_is_away_deletes_nothing(node: Node, said: StringIO, tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    (folder / "a.md").write_text("a")
    follower = following(node, said, folder, delete=True)
    follower.sync()
    folder.rename(tmp_path / "elsewhere")
    assert follower.sync() == follower.sync() == Round()
    assert said.getvalue().count("its documents stay as they are") == 1
    (tmp_path / "elsewhere").rename(folder)
    assert follower.sync() == Round()
    assert node.holds == {"a.md": "a"}


@pytest.mark.parametrize(
    "error", [NodeUnreachable("No answer."), *(Refused("No.", code="x", status=s, retry_after=1) for s in (429, 503))]
)
def test_what_a_node_missed_is_sent_when_it_is_back(
    node: Node, said: StringIO, folder: Path, error: TandemClientError
) -> None:
    follower = following(node, said, folder)
    node.away = error
    assert not follower.sync().finished
    assert not follower.sync().finished
    assert said.getvalue().count("Trying again.") == 1
    node.away = None
    assert follower.sync().finished
    assert node.holds.keys() == {"a.md", "sub/b.md"}


def test_a_busy_document_is_deleted_later(node: Node, said: StringIO, folder: Path) -> None:
    follower = following(node, said, folder, delete=True)
    follower.sync()
    (folder / "a.md").unlink()
    node.busy = Refused("Busy.", code="document_busy", status=409, retry_after=1)
    assert not follower.sync().finished
    node.busy = None
    assert follower.sync().deleted == ["a.md"]


@pytest.mark.parametrize(("code", "status"), [("unauthorized", 401), ("collection_not_found", 404)])
def test_what_no_waiting_mends_ends_it(node: Node, said: StringIO, folder: Path, code: str, status: int) -> None:
    node.away = Refused("No.", code=code, status=status, retry_after=1)
    with pytest.raises(Refused):
        following(node, said, folder).sync()


@pytest.mark.parametrize(
    ("content", "words"), [("refused", "Empty. (empty_text)"), ("unreadable", "Permission denied")]
)
def test_a_file_that_cannot_go_holds_up_no_other_and_is_told_once(
    node: Node, said: StringIO, folder: Path, content: str, words: str
) -> None:
    (folder / "b.md").write_text(content)
    follower = following(node, said, folder)
    follower.sync()
    assert node.holds.keys() == {"a.md", "sub/b.md"}
    assert said.getvalue() == f"b.md: {words}\n"
    assert follower.sync() == Round()
    (folder / "b.md").write_text("words")
    assert [each["id"] for each in follower.sync().receipts] == ["b.md"]


def test_a_file_that_goes_meanwhile_is_no_error(
    node: Node, said: StringIO, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = following(node, said, folder)
    scan = follower._scan

    def scan_and_lose() -> object:
        found = scan()
        (folder / "a.md").unlink(missing_ok=True)
        return found

    monkeypatch.setattr(follower, "_scan", scan_and_lose)
    follower.sync()
    assert node.holds.keys() == {"sub/b.md"}
    assert follower.sync() == Round()


def test_two_folders_may_not_give_one_id(node: Node, said: StringIO, folder: Path) -> None:
    (folder / "sub" / "a.md").write_text("another")
    with pytest.raises(InvalidRequest, match="would both become"):
        following(node, said, folder, folder / "sub")
    with pytest.raises(InvalidRequest, match="only folders can be watched"):
        following(node, said, folder / "a.md")


def test_rounds_follow_changes_and_go_on_while_something_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counting:
        def __init__(self) -> None:
            self.rounds = [Round(), Round(finished=False), Round(receipts=[{"id": "a"}]), Round(deleted=["a"])]
            self.calls = 0

        def sync(self) -> Round:
            self.calls += 1
            return self.rounds[self.calls - 1]

    follower, shown = Counting(), []
    quiet: set[object] = set()
    monkeypatch.setattr(app.cli.client.watch, "_rounds", lambda _: [quiet, quiet, quiet, quiet, {1}, quiet])
    monkeypatch.setattr(app.cli.client.watch, "monotonic", lambda: 1.0)
    follow(follower, [], shown.append)  # type: ignore[arg-type]
    assert follower.calls == 4
    assert shown == follower.rounds[2:]
