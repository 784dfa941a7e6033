import json

import pytest
from pydantic import ValidationError

import ingestion.errors
import ingestion.pipeline.pipeline
import ingestion.worker
from app.errors import STATUS, InvalidJson, validation_error
from app.http.error_formats import NATIVE
from app.http.schemas.ingest import IngestIn
from app.http.schemas.query import SearchIn
from ingestion.errors import Overloaded
from retrieval.errors import CollectionNotFound, EmptyText, EngineDead, InvalidText, TandemError

NEVER_ANSWERS = {
    # receipts
    "parse_failed", "encrypted_document", "parse_limit", "no_text", "not_read_back", "cancelled", "attempts_exhausted",
    "parser_busy", "parser_unavailable",
    # starts
    "configuration", "device_unknown", "model_unavailable",
}  # fmt: skip


def codes(kind: type[TandemError]) -> set[str]:
    own = {kind.code} if kind.__module__.partition(".")[0] in ("retrieval", "ingestion") else set()
    return own.union(*(codes(each) for each in kind.__subclasses__()))


def test_every_code_that_can_be_an_answer_has_a_status() -> None:
    assert ingestion.errors
    assert ingestion.pipeline.pipeline
    assert ingestion.worker
    assert codes(TandemError) - STATUS.keys() == NEVER_ANSWERS


def test_the_body_has_code_message_and_detail() -> None:
    response = NATIVE.response(CollectionNotFound("There is no collection 'x'.", collection="x"))
    assert response.status_code == 404
    assert json.loads(response.body) == {
        "error": {
            "code": "collection_not_found",
            "message": "There is no collection 'x'.",
            "detail": {"collection": "x"},
        }
    }
    assert "retry-after" not in response.headers


def test_what_a_retry_may_mend_says_when() -> None:
    assert NATIVE.response(EngineDead("gone")).headers["retry-after"] == "5"
    assert NATIVE.response(Overloaded("full", retry_after_s=9)).headers["retry-after"] == "9"


def refusal(body: str, model: type[IngestIn] | type[SearchIn] = SearchIn) -> TandemError:
    with pytest.raises(ValidationError) as failure:
        model.model_validate_json(body)
    return validation_error(failure.value.errors())


def test_validation_errors_name_the_field_and_not_the_value() -> None:
    error = refusal('{"query": "q", "top_k": "SECRET", "topk": 1}')
    assert "top_k" in error.message
    assert "topk: there is no such field" in error.message
    assert "SECRET" not in error.message + json.dumps(error.detail)


def test_kinds_of_validation_errors_have_their_codes() -> None:
    assert isinstance(refusal("{"), InvalidJson)
    assert isinstance(refusal('{"query": " "}'), EmptyText)
    assert isinstance(refusal('{"query": "a\\u0000"}'), InvalidText)
    assert "documents.0.text" in refusal('{"documents": [{"text": 1}]}', IngestIn).message


def test_a_thousand_errors_make_a_short_message() -> None:
    error = refusal(json.dumps({"documents": [{"text": 1}] * 1000}), IngestIn)
    assert len(error.message) < 4000
