"""Signed tokens: what is accepted, and that a token never chooses how it is verified."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from pydantic import ValidationError

from app.access.caller import Caller, Token
from app.errors import Unauthorized
from app.http.security.tokens import MAX_SUBJECT_CHARACTERS, MAX_TOKEN_CHARACTERS, Tokens, looks_like_token
from app.http.security.watched_file import LOOK_SECONDS
from app.settings import Settings
from ingestion.access.keys import new_secret
from retrieval.errors import ConfigurationError
from retrieval.filters.groups import MAX_CALLER_GROUPS

SECRET = "a secret of thirty-two bytes, and a few more"
ISSUER, AUDIENCE = "https://login.example.org", "tandem"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()


def claims(**more: Any) -> dict[str, Any]:
    expires = datetime.now(UTC) + timedelta(days=2)  # many are made long before their test runs
    given = {
        "sub": "ada",
        "iss": ISSUER,
        "aud": AUDIENCE,
        "exp": expires,
        "groups": ["staff", "board", "staff"],
        **more,
    }
    return {name: value for name, value in given.items() if value is not None}


def signed(key: Any = SECRET, algorithm: str = "HS256", kid: str | None = None, **more: Any) -> str:
    return jwt.encode(claims(**more), key, algorithm, headers={"kid": kid} if kid else None)


def with_secret(claim: str = "groups") -> Tokens:
    return Tokens(secret=SECRET, jwks=None, issuer=ISSUER, audience=AUDIENCE, claim=claim)


def jwks(path: Path, *keys: Mapping[str, Any]) -> Path:
    path.write_text(json.dumps({"keys": keys}))
    return path


def with_jwks(path: Path, clock: Any = lambda: 0.0) -> Tokens:
    return Tokens(secret=None, jwks=path, issuer=ISSUER, audience=AUDIENCE, claim="groups", clock=clock)


def public(key: Any, kid: str, **more: Any) -> dict[str, Any]:
    kinds = {rsa.RSAPrivateKey: RSAAlgorithm, ec.EllipticCurvePrivateKey: ECAlgorithm}
    algorithm = next((each for kind, each in kinds.items() if isinstance(key, kind)), OKPAlgorithm)
    made: dict[str, Any] = algorithm.to_jwk(key.public_key(), as_dict=True)
    return {**made, "kid": kid, **more}


def test_a_token_names_its_subject_and_groups() -> None:
    assert with_secret().verify(signed()) == Token("ada", ("board", "staff"))
    assert with_secret().verify(signed(groups=None, sub=None)) == Token(None, ())


@pytest.mark.parametrize(
    ("sub", "subject"),
    [
        ("ada@example.org", "ada@example.org"),
        ("阿达 Lovelace 😀", "阿达 Lovelace 😀"),
        ("ada\nkey_1 \x1b[2J\0\u202e\ud800", "ada\ufffdkey_1 \ufffd[2J\ufffd\ufffd\ufffd"),
        ("a" * 5000, "a" * MAX_SUBJECT_CHARACTERS),
        (" ", None),
        ("", None),
    ],
)
def test_a_subject_is_fit_for_the_audit_log(sub: str, subject: str | None) -> None:
    assert with_secret().verify(signed(sub=sub)).subject == subject


def test_the_groups_may_lie_within_objects() -> None:
    nested = signed(groups=None, realm_access={"roles": ["staff"]})
    assert with_secret("realm_access.roles").verify(nested).groups == ("staff",)
    named = signed(groups=None, **{"https://example.org/groups": ["staff"]})
    assert with_secret("https://example.org/groups").verify(named).groups == ("staff",)


@pytest.mark.parametrize(
    ("token", "words"),
    [
        (signed(exp=datetime.now(UTC) - timedelta(minutes=1)), "expired"),
        (signed(exp=None), "no exp"),
        (signed(iss="https://evil.example.org"), "another issuer"),
        (signed(iss=None), "no iss"),
        (signed(aud="another"), "another audience"),
        (signed(aud=None), "no aud"),
        (signed(nbf=datetime.now(UTC) + timedelta(days=1)), "not valid"),
        (signed("another secret of thirty-two bytes or so"), "not valid"),
        (signed(SECRET * 2, "HS512"), "not valid"),
        (signed(None, "none"), "not valid"),
        (signed(RSA_KEY, "RS256"), "not valid"),
        (signed().rpartition(".")[0] + ".", "not valid"),
        (signed(groups="staff"), "no list"),
        (signed(groups=[1]), "no list"),
        (signed(groups=[" staff"]), "none"),
        (signed(groups=["a\nb"]), "none"),
        (signed(groups=[f"{number}" for number in range(MAX_CALLER_GROUPS + 1)]), "at most"),
        ("", "not valid"),
        ("x" * (MAX_TOKEN_CHARACTERS + 1), "too long"),
    ],
)
def test_a_wrong_token_is_refused(token: str, words: str) -> None:
    with pytest.raises(Unauthorized, match=words) as refused:
        with_secret().verify(token)
    assert not token or token not in refused.value.message


@pytest.mark.parametrize(
    ("key", "algorithm"), [(RSA_KEY, "RS256"), (EC_KEY, "ES256"), (ED_KEY, "EdDSA")], ids=["RSA", "EC", "Ed25519"]
)
def test_a_public_key_verifies(tmp_path: Path, key: Any, algorithm: str) -> None:
    tokens = with_jwks(jwks(tmp_path / "jwks", public(OTHER_RSA_KEY, "old"), public(key, "new")))
    assert tokens.verify(signed(key, algorithm, "new")).groups == ("board", "staff")
    for wrong in (signed(key, algorithm, "old"), signed(key, algorithm, "x"), signed(key, algorithm)):
        with pytest.raises(Unauthorized):
            tokens.verify(wrong)


def test_a_public_key_is_no_secret(tmp_path: Path) -> None:
    """What everybody may read must sign nothing: neither as text, nor by another algorithm of the same type."""
    tokens = with_jwks(jwks(tmp_path / "jwks", public(RSA_KEY, "one", alg="RS256")))
    pem = RSA_KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    header = {"typ": "JWT", "alg": "HS256", "kid": "one"}
    signer = jwt.PyJWS(algorithms=["HS256"])
    signer._algorithms["HS256"].prepare_key = lambda key: key  # type: ignore[method-assign,assignment]
    body = json.dumps({**claims(), "exp": 2**33}).encode()
    forged = signer.encode(body, pem, "HS256", headers=header)  # type: ignore[arg-type]
    for token in (forged, signed(RSA_KEY, "RS512", "one"), signed(None, "none", "one")):
        with pytest.raises(Unauthorized):
            tokens.verify(token)
    assert tokens.verify(signed(RSA_KEY, "RS256", "one")).subject == "ada"


def test_keys_for_encryption_are_left_out(tmp_path: Path) -> None:
    tokens = with_jwks(jwks(tmp_path / "jwks", public(OTHER_RSA_KEY, "e", use="enc"), public(RSA_KEY, "s", use="sig")))
    assert tokens.verify(signed(RSA_KEY, "RS256", "s")).subject == "ada"
    with pytest.raises(Unauthorized):
        tokens.verify(signed(OTHER_RSA_KEY, "RS256", "e"))


def test_the_file_is_read_again(tmp_path: Path) -> None:
    now = [0.0]
    path = jwks(tmp_path / "jwks", public(RSA_KEY, "one"))
    tokens = with_jwks(path, lambda: now[0])
    jwks(path, public(EC_KEY, "two"), public(OTHER_RSA_KEY, "three"))
    now[0] += LOOK_SECONDS
    assert tokens.verify(signed(EC_KEY, "ES256", "two")).subject == "ada"
    with pytest.raises(Unauthorized):
        tokens.verify(signed(RSA_KEY, "RS256", "one"))
    path.write_text("{")
    now[0] += LOOK_SECONDS
    assert tokens.verify(signed(EC_KEY, "ES256", "two")).subject == "ada"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no JWKS"),
        ("[]", "no JWKS"),
        ('{"keys": {}}', "no list"),
        ('{"keys": []}', "no list"),
        ('{"keys": [1]}', "key 0 is no public key"),
        ('{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}', "key 0 is no public key"),
        ('{"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB", "d": "AQAB"}]}', "key 0 is no public key"),
        ('{"keys": [{"kty": "RSA", "n": "AQAB"}]}', "key 0 cannot be used"),
        ('{"keys": [{"kty": "RSA", "use": "enc"}]}', "no key for signatures"),
        (json.dumps({"keys": [public(RSA_KEY, "one"), public(EC_KEY, "one")]}), "id of key 1"),
        (json.dumps({"keys": [public(RSA_KEY, "one", alg="HS256")]}), "key 0"),
    ],
)
def test_a_wrong_jwks_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "jwks"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=words):
        with_jwks(path)


def test_a_stored_key_is_no_token() -> None:
    assert not looks_like_token(new_secret())
    assert looks_like_token(signed())


class TestCallers:
    def test_with_a_token_a_caller_only_reads(self) -> None:
        caller = Caller("key_1").with_token(Token("ada", ("staff",)))
        assert caller.scopes == {"search"}
        assert caller.space.groups == ("staff",)
        assert caller.token_subject == "ada"
        writer = Caller("key_1", frozenset({"ingest"})).with_token(Token("ada", ("staff",)))
        assert writer.scopes == set()

    def test_the_groups_of_a_key_bound_those_of_its_token(self) -> None:
        caller = Caller("key_1", frozenset({"search"}), groups=("board",))
        assert caller.with_token(Token(None, ("staff", "board"))).space.groups == ("board",)
        assert caller.with_token(Token(None, ())).space.groups == ()

    @pytest.mark.parametrize(
        ("scopes", "groups"),
        [
            (["search"], ()),
            (["search", "ingest"], ()),
            (["ingest"], None),
            (["search", "manage"], None),
            (["admin"], None),
        ],
    )
    def test_who_reads_texts_without_managing_reads_by_groups(
        self, scopes: list[Any], groups: tuple[str, ...] | None
    ) -> None:
        assert Caller("key_1", frozenset(scopes)).space.groups == groups


class TestSettings:
    GOOD: Mapping[str, Any] = {
        "api_keys": "an-administrator-s-key",
        "token_issuer": ISSUER,
        "token_audience": AUDIENCE,
        "token_secret": SECRET,
    }

    def test_they_belong_together(self) -> None:
        Settings(**self.GOOD)
        for wrong in (
            *({**self.GOOD, name: None} for name in ("token_issuer", "token_audience", "token_secret")),
            {**self.GOOD, "token_jwks_file": "jwks.json"},
            {**self.GOOD, "token_secret": "short"},
            {**self.GOOD, "api_keys": ""},
            {"token_key": "key_1", "api_keys": "an-administrator-s-key"},
        ):
            with pytest.raises(ValidationError, match="TANDEM_"):
                Settings(**wrong)
