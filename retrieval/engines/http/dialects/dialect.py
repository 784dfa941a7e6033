"""What a dialect is: all that the HTTP engine has to know about one kind of model server.

It says what the server is given. `TokenIds`: finished prompts, so that prompts, cuts and special tokens are ours to the
last token. `Text` and `Pair`: text that the server tokenises by itself, cut beforehand so that it has nothing to cut.
No server is ever left to apply a template or an instruction: what a prompt needs is in it when it goes out.
"""

from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Generic, TypeVar

from retrieval.types import Vector


@dataclass(frozen=True, slots=True)
class Text:
    """What is embedded, instruction included."""

    text: str
    tokens: int
    """Special tokens included."""

    def __len__(self) -> int:
        return self.tokens


@dataclass(frozen=True, slots=True)
class Pair:
    """What a cross-encoder scores. The pairs of one request have the same query."""

    query: str
    passage: str
    tokens: int
    """Of both, special tokens included."""

    def __len__(self) -> int:
        return self.tokens


InputT = TypeVar("InputT", bound=Sized)
"""Its length is its tokens."""


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
    """Without its parameters."""
    count: int
    """Inputs that were asked about."""


@dataclass(frozen=True, slots=True)
class Dialect(Generic[InputT]):
    """For one task."""

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
