"""What the wires of other products have in common here."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from app.errors import INVALID_TEXT


class Face(BaseModel):
    """Fields that are not named are left unread: clients of many products send some."""

    model_config = ConfigDict(extra="ignore", from_attributes=True)


def example(**fields: Any) -> ConfigDict:
    """What a model's description shows."""
    return ConfigDict(json_schema_extra={"examples": [fields]})


def _whole(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise PydanticCustomError(INVALID_TEXT, "holds lone surrogates") from None
    return text


WholeText = Annotated[str, AfterValidator(_whole)]
"""Any text that can be encoded, blank ones as well."""


class OpenAIProblem(Face):
    message: str
    type: str | None = Field(None, description="Class of the error: invalid_request_error, rate_limit_error…")
    param: str | None = Field(None, description="The field that is wrong.")
    code: str = Field(description="One of this node's error codes.")


class OpenAIErrorOut(Face):
    error: OpenAIProblem


class RerankErrorOut(Face):
    detail: str | None = Field(None, description="The message, where Jina's clients look for it.")
    error: OpenAIProblem


class CohereErrorOut(Face):
    message: str | None = None
    code: str | None = Field(None, description="One of this node's error codes.")
    error: OpenAIProblem | None = Field(None, description="Instead, of a body that is too large, and of a defect.")


def errors_of(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    return {
        "4XX": {"model": model, "description": "The request cannot be answered as it is."},
        "5XX": {"model": model, "description": "Something is away or failed; where waiting helps, Retry-After says."},
    }
