"""The definition of a dialect: everything that the HTTP engine has to know about one kind of model server.

A dialect says which input the server takes. `TokenIds` are finished prompts: this process composes the prompt,
truncates it and adds the special tokens. `Text` and `Pair` are text that the server tokenises itself; it is truncated
beforehand so that the server never truncates. A server never applies a template or an instruction: the request already
contains the complete prompt.
"""

from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Generic, TypeVar

from retrieval.types import Vector


@dataclass(frozen=True, slots=True)
class Text:
    """A text to embed, instruction included."""

    text: str
    tokens: int
    """Special tokens included."""

    def __len__(self) -> int:
        return self.tokens


@dataclass(frozen=True, slots=True)
class Pair:
    """A query and a passage for a cross-encoder. All pairs of one request have the same query."""

    query: str
    passage: str
    tokens: int
    """Tokens of both texts, special tokens included."""

    def __len__(self) -> int:
        return self.tokens


InputT = TypeVar("InputT", bound=Sized)
"""The length of an input is its number of tokens."""


@dataclass(frozen=True, slots=True)
class Request(Generic[InputT]):
    model: str
    """Name that the server serves the model under."""
    inputs: Sequence[InputT]
    dimensions: int | None = None
    """Components that each vector is to have; None: as many as the model gives."""


@dataclass(frozen=True, slots=True)
class Answer:
    content: bytes
    media_type: str
    """Media type without its parameters."""
    count: int
    """Inputs that were asked about."""


@dataclass(frozen=True, slots=True)
class Dialect(Generic[InputT]):
    """How one kind of server performs one task."""

    name: str
    path: str
    body: Callable[[Request[InputT]], Mapping[str, object]]
    """The JSON to post."""
    outputs: Callable[[Answer], list[Vector]]
    """One per input, in their order: a vector of unit length, or a score in [0, 1], shape (1,). Raises EngineFailed for
    an answer that cannot be right."""
    priority: bool = False
    """Whether a body may have a field `priority`, lowest first."""
    reduces: bool = True
    """Whether the server is asked for shorter vectors."""
    fallback: "Dialect[InputT] | None" = None
    """Spoken from then on with a server that refuses this one's requests and takes that one's."""
