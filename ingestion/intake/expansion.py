"""One upload that holds several documents: an archive, mail with attachments, lines of JSON (pure)."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from ingestion.errors import MediaTypeMismatch, UnsupportedMediaType
from ingestion.intake import archives, mail
from ingestion.intake.archives import ArchiveDamaged, Member
from ingestion.intake.budget import Budget, IntakeLimits
from ingestion.intake.front_matter import front_matter
from ingestion.intake.lines import lines
from ingestion.parsers.detect import EML, JSON, JSONL, MARKDOWN, MSG, OLE, claimed, detect, is_archive
from ingestion.types import MAX_ID_BYTES, SkippedPart, Upload
from retrieval.errors import InvalidRequest
from retrieval.filters.metadata_keys import wrong_value
from retrieval.filters.tree import KeyType

MAX_DEPTH = 3
"""Files within files within files."""
MAX_OWN_METADATA_BYTES = 8192
MAX_SKIPPED = 1000
"""Parts that are reported by name."""
PART_OF = "part_of"
"""Metadata key of a part: the id of what it came in."""


@dataclass(slots=True)
class Expansion:
    uploads: list[Upload] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    """For each of `uploads`, the index of the request's upload that it comes from, from 0."""
    skipped: list[SkippedPart] = field(default_factory=list)


def holds_more(upload: Upload) -> bool:
    """Returns whether `expand` may change the upload. Cheap: it is called for thousands."""
    return upload.data.startswith((b"PK", OLE, b"---", b"\xef\xbb\xbf---")) or bool(
        {EML, JSONL} & set(claimed(upload.filename, upload.media_type))
    )


def expand(
    uploads: Sequence[Upload],
    limits: IntakeLimits,
    *,
    split_lines: bool = False,
    unpack: bool = True,
    metadata_keys: Mapping[str, KeyType] | None = None,
) -> Expansion:
    """Every upload, with the documents that it holds behind it, or in place of it where it is none itself.

    A part has the id `ID/NAME`, what its container was given (partition, metadata, language), and the metadata
    `part_of`. Metadata that a file has of its own comes below what it was given; values that contradict `metadata_keys`
    are left out. `split_lines`: lines of JSONL are documents. `unpack`: False leaves archives and attachments as they
    are. Raises TooLarge beyond the limits, InvalidRequest for an archive of which nothing is read.
    """
    expander = _Expander(limits, metadata_keys or {}, split_lines=split_lines, unpack=unpack)
    expander.ids.update(upload.id or upload.filename or "" for upload in uploads)
    for place, upload in enumerate(uploads):
        expander.place, expander.given = place, upload.metadata
        expander.add(upload, 0)
    return expander.result


class _Expander:
    def __init__(
        self, limits: IntakeLimits, metadata_keys: Mapping[str, KeyType], *, split_lines: bool, unpack: bool
    ) -> None:
        self.result = Expansion()
        self.place = 0
        self.given: Mapping[str, object] = {}
        self.ids: set[str] = set()
        self._repeats = Counter[str]()
        self._budget = Budget(limits)
        self._limits = limits
        self._split_lines = split_lines
        self._unpack = unpack
        self._metadata_keys = metadata_keys

    def add(self, upload: Upload, depth: int) -> None:
        by_declaration, by_name = claimed(upload.filename, upload.media_type)
        kind = by_declaration or by_name
        if self._unpack and is_archive(upload.data, filename=upload.filename, declared=upload.media_type):
            self._archive(upload, depth)
        elif kind == EML:
            self._mail(upload, mail.read_parts(upload.data, self._budget), depth)
        elif upload.data.startswith(OLE) and _is_message(upload.data, kind):
            self._mail(upload, mail.read_outlook_parts(upload.data, self._budget), depth)
        elif kind == JSONL and self._split_lines:
            self._lines(upload)
        elif kind == MARKDOWN:
            self._keep(self._with_own(upload, front_matter(upload.data)))
        else:
            self._keep(upload)

    def _keep(self, upload: Upload) -> None:
        self._budget.add_document()
        self.result.uploads.append(upload)
        self.result.places.append(self.place)

    def _archive(self, upload: Upload, depth: int) -> None:
        name = upload.id or upload.filename or f"number {self.place}"
        before = len(self.result.uploads)
        try:
            for member in archives.members(upload.data, self._budget):
                self._part(upload, member, depth)
        except ArchiveDamaged as damage:
            if depth:
                self._skip(name, f"The archive is damaged: {damage}.")
                return
            raise InvalidRequest(f"Archive {name[:80]!r} is damaged: {damage}.", document=self.place) from damage
        if not depth and len(self.result.uploads) == before:
            reasons = [f"{each.name[-80:]!r}: {each.reason}" for each in self.result.skipped[-3:]]
            raise InvalidRequest(
                f"Archive {name[:80]!r} holds no document that is read. {' '.join(reasons)}".rstrip(),
                document=self.place,
            )

    def _mail(self, upload: Upload, parts: mail.Mail, depth: int) -> None:
        self._keep(self._with_own(upload, parts.metadata))
        if parts.unopened:
            self._skip(upload.id or upload.filename or f"number {self.place}", parts.unopened)
        for member in parts.attached:
            if self._unpack:
                self._part(upload, member, depth)
            else:
                self._skip(f"{upload.id or upload.filename}/{member.name}", "This request does not open attachments.")

    def _lines(self, upload: Upload) -> None:
        before = len(self.result.uploads)
        for line in lines(upload.data, self._budget):
            self._part(upload, line.member, 0, media_type=JSON, title=line.title)
        if len(self.result.uploads) == before:
            self._keep(upload)

    def _part(
        self, container: Upload, member: Member, depth: int, *, media_type: str | None = None, title: str = ""
    ) -> None:
        origin = container.id or container.filename or f"number {self.place}"
        id_ = self._unique(f"{origin}/{member.name}")
        if member.skipped:
            self._skip(id_, member.skipped)
            return
        part = Upload(
            data=member.data,
            id=id_,
            filename=PurePosixPath(member.name).name,
            media_type=media_type,
            title=title,
            partition=container.partition,
            metadata={PART_OF: origin, **self.given},
            groups=container.groups,
            language=container.language,
        )
        if reason := self._refusal(part, depth):
            self._skip(id_, reason)
            return
        if media_type is None and is_archive(part.data, filename=part.filename):
            self._archive(part, depth + 1)
            return
        found = media_type or _type_of(part)
        typed = replace(part, media_type=found, filename=None)
        if depth + 1 >= MAX_DEPTH and found in (EML, MSG):
            self._keep(typed)
        else:
            self.add(typed, depth + 1)

    def _refusal(self, part: Upload, depth: int) -> str:
        """Returns the reason why a part is not accepted."""
        assert part.id
        if len(part.id.encode()) > MAX_ID_BYTES:
            return f"Its id has more than {MAX_ID_BYTES} bytes."
        if not part.data.strip():
            return "It is empty or holds only white space."
        if len(part.data) > self._limits.document_bytes:
            return f"It has more than {self._limits.document_bytes:,} bytes."
        if is_archive(part.data, filename=part.filename):
            return f"Archives are read {MAX_DEPTH} levels deep." if depth + 1 >= MAX_DEPTH else ""
        try:
            _type_of(part)
        except UnsupportedMediaType as error:
            return error.message
        return ""

    def _with_own(self, upload: Upload, own: Mapping[str, object]) -> Upload:
        fitting = {key: value for key, value in own.items() if not wrong_value({key: value}, self._metadata_keys)}
        if not fitting or len(json.dumps(fitting).encode()) > MAX_OWN_METADATA_BYTES:
            return upload
        return replace(upload, metadata={**fitting, **upload.metadata})

    def _skip(self, name: str, reason: str) -> None:
        if len(self.result.skipped) < MAX_SKIPPED:
            self.result.skipped.append(SkippedPart(name[:MAX_ID_BYTES], reason))

    def _unique(self, id_: str) -> str:
        """Returns a unique id: two attachments may have the same name."""
        candidate, suffix = id_, PurePosixPath(id_).suffix
        while candidate in self.ids:
            self._repeats[id_] += 1
            candidate = f"{id_.removesuffix(suffix)} ({self._repeats[id_] + 1}){suffix}"
        self.ids.add(candidate)
        return candidate


def _is_message(data: bytes, claim: str | None) -> bool:
    try:
        return claim in (None, MSG) and detect(data) == MSG
    except UnsupportedMediaType:
        return False


def _type_of(part: Upload) -> str:
    """What it is called decides between kinds of text only. Raises UnsupportedMediaType."""
    try:
        return detect(part.data, filename=part.filename)
    except MediaTypeMismatch:
        return detect(part.data)
