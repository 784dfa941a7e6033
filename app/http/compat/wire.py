"""Types that the APIs of other products share here."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.http.schemas.absence import NullIsAbsence
from app.http.schemas.wire import whole


class CompatModel(BaseModel):
    """Ignores unknown fields, which clients of many products send."""

    model_config = ConfigDict(extra="ignore", from_attributes=True)


class CompatRequest(CompatModel, NullIsAbsence):
    """A request. Types are not converted: "5" is not a number, and 0 is not false."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


WholeText = Annotated[str, AfterValidator(whole)]
"""Any text that can be encoded, blank ones included."""
LongText = Annotated[str, Field(max_length=1_000_000), AfterValidator(whole)]
"""A text for a model, which truncates what exceeds its window."""


class OpenAIProblem(CompatModel):
    message: str = Field(description="Message for people: what was wrong, which value, what to do.")
    type: str = Field(description="Class of the error: `invalid_request_error`, `rate_limit_error`…")
    param: str | None = Field(description="The invalid field; null if no field is.")
    code: str = Field(description="One of this node's error codes.")


class OpenAIErrorOut(CompatModel):
    error: OpenAIProblem = Field(description="The error.")


class RerankErrorOut(OpenAIErrorOut):
    detail: str = Field(description="The message, where Jina's clients look for it.")


class CohereErrorOut(CompatModel):
    message: str = Field(description="Message for people: what was wrong, which value, what to do.")
    code: str = Field(description="One of this node's error codes.")
