"""Types that all requests and answers share: storable texts, names, and models that refuse unknown fields."""

import json
import re
from base64 import b64decode
from datetime import UTC, datetime
from functools import partial
from typing import Annotated
from unicodedata import normalize

from pydantic import (
    AfterValidator,
    Base64Encoder,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    EncodedBytes,
    Field,
    JsonValue,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from app.errors import EMPTY_TEXT, INVALID_TEXT
from app.http.schemas.absence import NullIsAbsence
from retrieval.filters.groups import MAX_GROUP_BYTES
from retrieval.filters.parse import MAX_CONDITIONS, MAX_DEPTH

MAX_METADATA_BYTES = 32_768
"""Metadata is stored with every chunk of its document."""
MAX_METADATA_KEYS = 1024
MAX_ID_CHARACTERS = 512
MAX_MOMENT_CHARACTERS = 35
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
COLLECTION_NAME = r"^[^\W\d_][\w.-]{0,99}$"


def whole(text: str) -> str:
    """Checks that the text can be encoded: pydantic looks for lone surrogates only where a length is bounded."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise PydanticCustomError(INVALID_TEXT, "contains lone surrogates") from None
    return text


def _clean(text: str) -> str:
    if "\0" in text:
        raise PydanticCustomError(INVALID_TEXT, "contains NUL characters")
    return whole(text)


def _not_blank(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError(EMPTY_TEXT, "is empty or contains only white space")
    return text


def _storable(metadata: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Checks that every store can hold the metadata: finite 64-bit numbers, no NUL, no lone surrogates, bounded
    size."""
    try:
        size = len(json.dumps(metadata, allow_nan=False, ensure_ascii=False).encode())
    except UnicodeEncodeError:
        raise PydanticCustomError(INVALID_TEXT, "contains lone surrogates") from None
    except (ValueError, RecursionError):
        raise PydanticCustomError("metadata", "contains a number that is not finite, or is nested too deeply") from None
    if size > MAX_METADATA_BYTES:
        raise PydanticCustomError("metadata", f"has {size} bytes as JSON; at most {MAX_METADATA_BYTES} are taken")
    waiting: list[JsonValue] = [metadata]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value)
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, str):
            _clean(value)
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise PydanticCustomError("metadata", "contains an integer of more than 64 bits")
    return metadata


def _moment(value: object) -> datetime:
    if isinstance(value, str) and RFC_3339.fullmatch(value):
        try:
            return datetime.fromisoformat(value.upper()).astimezone(UTC)
        except (ValueError, OverflowError):  # no such day, or one that UTC has no year for
            pass
    raise PydanticCustomError("moment", "is not a time such as 2026-03-02T09:00:00Z")


class _StrictBase64(Base64Encoder):
    """Accepts line breaks, which many tools insert; any other stray character would silently lose content."""

    @classmethod
    def decode(cls, data: bytes) -> bytes:
        try:
            return b64decode(b"".join(data.split()), validate=True)
        except ValueError as error:
            raise PydanticCustomError("base64", f"is not base64: {error}") from None


# Not strict: what a validator of the whole model has looked at is Python, where bytes are no text.
Base64Content = Annotated[bytes, Field(strict=False), EncodedBytes(encoder=_StrictBase64)]
Text = Annotated[str, AfterValidator(_clean)]
"""Text without NUL and lone surrogates."""
FilledText = Annotated[Text, AfterValidator(_not_blank)]
Instruction = Annotated[FilledText, Field(max_length=2000)]
# Bounded before they are checked: behind a check, pydantic says "items" where it means characters.
Id = Annotated[str, Field(max_length=MAX_ID_CHARACTERS), AfterValidator(_clean)]
FilledId = Annotated[Id, AfterValidator(_not_blank)]
Group = Annotated[str, Field(max_length=MAX_GROUP_BYTES), AfterValidator(_clean), AfterValidator(_not_blank)]
LanguageCode = Annotated[str, Field(pattern=r"^[a-z]{2,3}$", max_length=3)]
"""A code of ISO 639."""
ModelName = Annotated[str, Field(max_length=300), AfterValidator(_clean)]
# Where free JSON is taken, the schema says in words of its own what it is held to.
MetadataBounds = Field(max_length=MAX_METADATA_KEYS, json_schema_extra={"x-max-bytes": MAX_METADATA_BYTES})
FilterBounds = Field(max_length=16, json_schema_extra={"x-max-conditions": MAX_CONDITIONS, "x-max-depth": MAX_DEPTH})
Metadata = Annotated[dict[str, JsonValue], MetadataBounds, AfterValidator(_storable)]
FilterTree = Annotated[dict[str, JsonValue], FilterBounds]
"""A filter before parsing."""
Moment = Annotated[
    datetime,
    BeforeValidator(_moment),
    Field(strict=False),
    WithJsonSchema({"type": "string", "format": "date-time", "maxLength": MAX_MOMENT_CHARACTERS}),
]
"""A time in RFC 3339, with its offset; in UTC once it is read."""
CollectionName = Annotated[
    str,
    StringConstraints(pattern=COLLECTION_NAME, max_length=100),
    # Composed and decomposed letters look alike.
    AfterValidator(partial(normalize, "NFC")),
    Field(description="Letters of any script, digits, `_`, `-` and `.`, beginning with a letter; at most 100."),
]


class Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", from_attributes=True)


class WireRequest(Wire, NullIsAbsence):
    """A request. Types are not converted: "5" is not a number, and 0 is not false."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class ErrorOut(Wire):
    code: str = Field(description="Code for programs; its meaning never changes.")
    message: str = Field(description="Message for people: what was wrong, which value, what to do.")


class ErrorDetailOut(ErrorOut):
    detail: dict[str, JsonValue] = Field(description="The message's facts as data; may be empty.")


class ErrorBody(Wire):
    """The body of every error."""

    error: ErrorDetailOut = Field(description="The error.")
