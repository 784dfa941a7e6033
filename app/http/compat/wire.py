"""What the wires of other products have in common here."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from app.errors import INVALID_TEXT


class CompatModel(BaseModel):
    """Fields that are not named are left unread: clients of many products send some."""

    model_config = ConfigDict(extra="ignore", from_attributes=True)


class CompatRequest(CompatModel):
    """What callers send. No type is taken for another one: "5" is no number, and 0 is not false."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


def _whole(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise PydanticCustomError(INVALID_TEXT, "holds lone surrogates") from None
    return text


WholeText = Annotated[str, AfterValidator(_whole)]
"""Any text that can be encoded, blank ones as well."""
LongText = Annotated[str, Field(max_length=1_000_000), AfterValidator(_whole)]
"""What a model reads; what does not fit its window is cut."""


class OpenAIProblem(CompatModel):
    message: str = Field(description="For people: what was wrong, which value, what to do.")
    type: str = Field(description="Class of the error: `invalid_request_error`, `rate_limit_error`…")
    param: str | None = Field(description="The field that is wrong; null where it is none.")
    code: str = Field(description="One of this node's error codes.")


class OpenAIErrorOut(CompatModel):
    error: OpenAIProblem = Field(description="What was wrong.")


class RerankErrorOut(OpenAIErrorOut):
    detail: str = Field(description="The message, where Jina's clients look for it.")


class CohereErrorOut(CompatModel):
    message: str = Field(description="For people: what was wrong, which value, what to do.")
    code: str = Field(description="One of this node's error codes.")
