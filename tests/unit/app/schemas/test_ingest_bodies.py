"""Documents in Base64, as JSON brings them."""

import json

import pytest
from pydantic import ValidationError

from app.http.schemas.ingest import IngestIn


def body(content: object) -> bytes:
    return json.dumps({"documents": [{"id": "a", "content_base64": content, "title": None}]}).encode()


@pytest.mark.parametrize("content", ["aGVsbG8=", "aGVs\nbG8="])
def test_base64_is_read(content: str) -> None:
    assert [upload.data for upload in IngestIn.model_validate_json(body(content)).uploads()] == [b"hello"]


@pytest.mark.parametrize("content", ["aGV!sbG8=", "aGVsbG8", 5, ["aGVsbG8="], True])
def test_what_is_no_base64_is_refused(content: object) -> None:
    with pytest.raises(ValidationError, match="content_base64"):
        IngestIn.model_validate_json(body(content))
