"""Verifies signed tokens (JWT), which say on whose behalf a key is used.

The algorithms are those of the settings' secret or of each key of the JWKS, never what a token names: neither `none`,
nor a public key taken for a secret, is accepted.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, Final

import jwt
from jwt.types import Options

from app.access.caller import Token
from app.errors import Unauthorized
from app.http.security.watched_file import WatchedFile
from app.settings import Settings
from retrieval.filters.groups import MAX_CALLER_GROUPS, unique, wrong_names

HEADER: Final = "x-tandem-token"
MAX_TOKEN_CHARACTERS: Final = 16_000
MAX_SUBJECT_CHARACTERS: Final = 255
"""Limit of OpenID Connect for `sub`; longer ones are cut."""
MAX_KEYS: Final = 100
LEEWAY_SECONDS: Final = 30
"""Difference of clocks that is accepted."""
_HMAC: Final = "HS256"
_ALGORITHMS: Final[Mapping[str, Sequence[str]]] = {
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "EC": ("ES256", "ES384", "ES512"),
    "OKP": ("EdDSA",),
}
"""By the type of a key. A JWKS holds public keys: a secret in it is refused."""
_REQUIRED: Final[Options] = {"require": ["exp", "iss", "aud"], "verify_signature": True}

Verifying = tuple[Any, Sequence[str]]
"""A key, and the algorithms that it verifies."""


class Tokens:
    """Verifies tokens by a secret, or by the keys of a JWKS file."""

    def __init__(
        self,
        *,
        secret: str | None,
        jwks: Path | None,
        issuer: str,
        audience: str,
        claim: str,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Exactly one of `secret` and `jwks`. `claim` names the list of groups; dots lead into objects. Raises
        ConfigurationError.
        """
        self._secret = secret
        self._jwks = WatchedFile(jwks, "TANDEM_TOKEN_JWKS_FILE", _keys_of, clock) if jwks else None
        self._issuer = issuer
        self._audience = audience
        self._claim = claim

    def verify(self, token: str) -> Token:
        """Returns what the token says. Raises Unauthorized."""
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise _refused("is too long")
        try:
            key, algorithms = self._key_for(token)
            claims = jwt.decode(
                token,
                key,
                algorithms=algorithms,
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_SECONDS,
                options=_REQUIRED,
            )
        except jwt.ExpiredSignatureError:
            raise _refused("has expired") from None
        except jwt.InvalidAudienceError:
            raise _refused("is for another audience") from None
        except jwt.InvalidIssuerError:
            raise _refused("is of another issuer") from None
        except jwt.MissingRequiredClaimError as error:
            raise _refused(f"has no {error.claim}") from None
        except (jwt.PyJWTError, ValueError, TypeError):
            raise _refused("is not valid") from None
        return Token(_subject(claims), self._groups(claims))

    def _key_for(self, token: str) -> Verifying:
        """Raises PyJWTError where no key can have signed it."""
        if self._jwks is None:
            return self._secret, (_HMAC,)
        header = jwt.get_unverified_header(token)
        keys = self._jwks.value()
        named = header.get("kid")
        found = keys.get(named) if named is not None or len(keys) > 1 else next(iter(keys.values()))
        if found is None:
            raise jwt.InvalidKeyError
        return found

    def _groups(self, claims: Mapping[str, Any]) -> tuple[str, ...]:
        value: Any = claims.get(self._claim)
        if value is None:
            value = claims
            for part in self._claim.split("."):
                value = value.get(part) if isinstance(value, Mapping) else None
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            raise _refused(f"has no list of texts as {self._claim}")
        if wrong := wrong_names(value, MAX_CALLER_GROUPS):
            raise _refused(f"names groups that are none: {wrong}")
        return unique(value)


def _subject(claims: Mapping[str, Any]) -> str | None:
    """Returns what the audit log can hold, and show as it is: characters that are not printed become U+FFFD."""
    subject = claims.get("sub")
    if not isinstance(subject, str):
        return None
    shown = (each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in subject[:MAX_SUBJECT_CHARACTERS])
    return "".join(shown).strip() or None


def tokens_of(settings: Settings) -> Tokens | None:
    """Returns None where the settings accept no tokens. Raises ConfigurationError."""
    if settings.token_issuer is None or settings.token_audience is None:
        return None
    return Tokens(
        secret=settings.token_secret.get_secret_value() if settings.token_secret else None,
        jwks=settings.token_jwks_file,
        issuer=settings.token_issuer,
        audience=settings.token_audience,
        claim=settings.token_groups_claim,
    )


def looks_like_token(bearer: str) -> bool:
    """Returns whether a bearer can be a token: three parts between dots. No API key that the node makes has a dot."""
    return bearer.count(".") == 2


def _keys_of(raw: bytes) -> Mapping[str | None, Verifying]:
    """Returns the keys of a JWKS, by their ids. Raises ValueError."""
    try:
        listed = json.loads(raw)["keys"]
    except (KeyError, TypeError, json.JSONDecodeError):
        raise ValueError("is no JWKS: an object with a list 'keys'") from None
    if not isinstance(listed, list) or not 0 < len(listed) <= MAX_KEYS:
        raise ValueError(f"has no list of 1 to {MAX_KEYS} keys")
    keys: dict[str | None, Verifying] = {}
    for number, each in enumerate(listed):
        if isinstance(each, dict) and each.get("use", "sig") != "sig":
            continue
        kind = str(each.get("kty")) if isinstance(each, dict) else ""
        if kind not in _ALGORITHMS or "d" in each:
            raise ValueError(f"key {number} is no public key of the types {', '.join(_ALGORITHMS)}")
        try:
            key = jwt.PyJWK(each)
        except (jwt.PyJWTError, ValueError, TypeError):
            # Its reason repeats the key.
            raise ValueError(f"key {number} cannot be used") from None
        if key.algorithm_name not in _ALGORITHMS[kind]:
            raise ValueError(f"key {number} names an algorithm that its type does not have")
        if key.key_id in keys:
            raise ValueError(f"the id of key {number} is not its own")
        keys[key.key_id] = (key.key, (key.algorithm_name,))
    if not keys:
        raise ValueError("has no key for signatures")
    return keys


def _refused(why: str) -> Unauthorized:
    return Unauthorized(f"The token {why}. Ask its issuer for another one.", key_given=True)
