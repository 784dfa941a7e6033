"""Which files `tandem ingest` takes, and the ids that they get."""

from io import StringIO
from pathlib import Path, PurePath

import pytest
from rich.console import Console

from app.cli.client.files import FileFilter, find_files, link_reporter
from app.cli.globs import is_like, is_within, split_pattern
from retrieval.errors import InvalidRequest

FILES = (
    "a.md", "b.txt", "guides/c.md", "guides/deep/d.md", "guides/deep/e.pdf",
    ".hidden.md", ".git/f.md", "a.md~", "#a.md#", "~$report.docx", ".a.md.swp", "4.tmp", "film.crdownload",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("words")
    return tmp_path


def ids(*paths: Path, **choice: tuple[str, ...]) -> list[str]:
    return [id_ for id_, _ in find_files(paths, FileFilter(**choice), lambda *_: None)]


@pytest.mark.parametrize(
    ("name", "pattern", "like"),
    [
        ("a.md", "*.md", True),
        ("guides/a.md", "*.md", False),
        ("guides/a.md", "**/*.md", True),
        ("a.md", "**/*.md", True),
        ("x/y/z.md", "x/**", True),
        ("x/y/z.md", "x/*/z.md", True),
        ("x/y/y/z.md", "x/*/z.md", False),
        ("a1.md", "a[0-9].md", True),
        ("ab.md", "a[!0-9].md", True),
        ("a1.md", "a[!0-9].md", False),
        ("a+b.md", "a+b.md", True),
        ("ab.md", "a?.md", True),
        ("a/.md", "a?.md", False),
        ("[a.md", "[a.md", True),
    ],
)
def test_a_pattern_is_held_against_the_whole_path(name: str, pattern: str, like: bool) -> None:
    assert is_like(PurePath(name), pattern) is like


@pytest.mark.parametrize(
    ("name", "pattern", "within"),
    [
        ("x/build/y.md", "build", True),
        ("x/build/y.md", "build/", True),
        ("x/build/y.md", "x/build", True),
        ("x/build/y.md", "x/*", True),
        ("x/rebuild/y.md", "build", False),
        ("x/y/build.md", "build/*", False),
        ("x/y.md", "*.md", True),
    ],
)
def test_a_folder_stands_for_what_is_in_it(name: str, pattern: str, within: bool) -> None:
    assert is_within(PurePath(name), pattern) is within


def test_a_pattern_is_split_at_its_first_wildcard() -> None:
    assert split_pattern("/docs/2024/**/*.md") == (Path("/docs/2024"), "**/*.md")
    assert split_pattern("*.md") == (Path(), "*.md")


def test_a_folder_without_what_is_hidden_or_temporary(folder: Path) -> None:
    assert ids(folder) == ["a.md", "b.txt", "guides/c.md", "guides/deep/d.md", "guides/deep/e.pdf"]
    assert ids(folder / ".git" / "f.md", folder / "4.tmp") == ["f.md", "4.tmp"]


def test_a_pattern_gives_the_ids_that_its_folder_gives(folder: Path) -> None:
    assert ids(folder / "**/*.md") == ["a.md", "guides/c.md", "guides/deep/d.md"]
    assert ids(folder / "*.md") == ["a.md"]
    assert ids(folder / "guides/**/*.md") == ["c.md", "deep/d.md"]
    assert set(ids(folder / "**/*.md")) < set(ids(folder))


def test_a_pattern_is_read_from_the_working_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert ids(Path("guides/*/*.pdf")) == ["deep/e.pdf"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(folder: Path) -> None:
    (folder / "[1].md").write_text("words")
    assert ids(folder / "[1].md") == ["[1].md"]


def test_files_are_chosen(folder: Path) -> None:
    assert ids(folder, include=("*.md",)) == ["a.md", "guides/c.md", "guides/deep/d.md"]
    assert ids(folder, include=("*.md", "*.pdf"), exclude=("deep",)) == ["a.md", "guides/c.md"]
    assert ids(folder, include=("guides/*.md",), exclude=("guides/deep/*",)) == ["guides/c.md"]
    assert ids(folder / "b.txt", folder, include=("*.md",), exclude=("guides",)) == ["b.txt", "a.md"]


@pytest.mark.parametrize(
    ("path", "words"), [("*.rst", "no file matches"), ("x", "no such file"), ("x/*.md", "no file matches")]
)
def test_what_is_not_there_is_refused(folder: Path, path: str, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        ids(folder / path)
    with pytest.raises(InvalidRequest, match="no file to ingest"):
        ids(folder, include=("*.rst",))


def test_two_files_of_one_id_are_refused(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "d.md").write_text("others")
    with pytest.raises(InvalidRequest, match=r"would both become document 'deep/d\.md'"):
        ids(folder, folder / "guides")
    assert ids(folder / "a.md", folder / "a.md") == ["a.md"]


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A folder with links: out of it, within it, to nowhere and in a circle."""
    (tmp_path / "outside" / "deep").mkdir(parents=True)
    (tmp_path / "outside" / "secret.md").write_text("secret")
    (tmp_path / "outside" / "deep" / "secret.md").write_text("secret")
    folder = tmp_path / "docs"
    (folder / "guides").mkdir(parents=True)
    (folder / "guides" / "a.md").write_text("words")
    for name, target in {
        "file.md": "../outside/secret.md",
        "folder": "../outside",
        "guides/absolute.md": str(tmp_path / "outside" / "secret.md"),
        "guides/chain.md": "../file.md",
        "twin": "../docs-2/a.md",
        "up": "..",
        "root": "/",
        "inside.md": "guides/a.md",
        "same": "guides",
        "self": ".",
        "loop": "loop",
        "ping": "pong",
        "pong": "ping",
        "guides/circle": "..",
        "nowhere.md": "gone.md",
    }.items():
        (folder / name).symlink_to(target)
    (tmp_path / "docs-2").mkdir()
    (tmp_path / "docs-2" / "a.md").write_text("secret")
    return folder


def test_links_that_leave_the_folder_are_skipped_and_reported(linked: Path) -> None:
    console = Console(file=StringIO(), width=40)
    found = find_files([linked, linked / "**/*.md"], FileFilter(), link_reporter(console))
    assert [id_ for id_, _ in found] == ["guides/a.md", "inside.md"]
    assert {path.read_text() for _, path in found} == {"words"}
    assert isinstance(console.file, StringIO)
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 7
    for name in ("file.md", "folder", "guides/absolute.md", "guides/chain.md", "twin", "up", "root"):
        assert sum(line.startswith(f"{linked / name} was skipped: it links to ") for line in lines) == 1
    assert f"{linked / 'folder'} was skipped: it links to {linked.parent / 'outside'}, outside of the folder." in lines


def test_a_folder_and_a_file_that_are_named_may_be_links(linked: Path) -> None:
    link = linked.parent / "link"
    link.symlink_to(linked)
    assert ids(link) == ["guides/a.md", "inside.md"]
    assert ids(linked / "file.md") == ["file.md"]
