"""Keys in clear, as hashes, and of a file that changes."""

from hashlib import sha256
from pathlib import Path

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from app.access.caller import INTERNAL, Caller
from app.errors import Unauthorized
from app.http.security.api_keys import ApiKeys
from app.http.security.callers import Callers
from app.http.security.watched_file import LOOK_SECONDS
from app.settings import load_settings
from ingestion.access.keys import KeyCatalog
from retrieval.errors import ConfigurationError, NotReady

KEY, OTHER = "right-and-long-enough", "other-and-long-enough"


def hashed(key: str) -> str:
    return f"sha256:{sha256(key.encode()).hexdigest()}"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(f"# of this test\n\n  {KEY}  \n{hashed(OTHER)}\n")
    path.chmod(0o600)
    return path


def known(keys: ApiKeys, key: str) -> bool:
    return keys.holder(key) is not None


def callers(*keys: str, internal: str | None = None) -> Callers:
    def no_catalog() -> KeyCatalog:
        raise NotReady("The node is starting.")

    return Callers(ApiKeys([SecretStr(key) for key in keys], internal=internal), no_catalog)


async def test_without_keys_everybody_is_let_in() -> None:
    assert await callers().caller(None) == Caller(None)
    assert await callers(internal=KEY).caller("Bearer whatever") == Caller(None)


@pytest.mark.parametrize("kept", [KEY, hashed(KEY), hashed(KEY).upper().replace("SHA", "sha")])
@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer wrong", f"Basic {KEY}", KEY, f"Bearer {KEY}2"])
async def test_wrong_keys_are_refused(kept: str, given: str | None) -> None:
    with pytest.raises(Unauthorized):
        await callers(kept, OTHER).caller(given)


@pytest.mark.parametrize("kept", [KEY, hashed(KEY), hashed(KEY).upper().replace("SHA", "sha")])
@pytest.mark.parametrize("given", [f"Bearer {KEY}", f"bearer {KEY}", f"Bearer  {KEY} "])
async def test_any_known_key_is_right_and_names_its_caller(kept: str, given: str) -> None:
    keys = callers(kept, OTHER)
    caller = await keys.caller(given)
    assert caller.key_id == sha256(KEY.encode()).hexdigest()[:12] != (await keys.caller(f"Bearer {OTHER}")).key_id
    assert KEY not in repr(caller)


def test_a_hash_is_no_key() -> None:
    assert not known(ApiKeys([SecretStr(hashed(KEY))]), hashed(KEY))
    assert not known(ApiKeys([SecretStr(hashed(KEY))]), hashed(KEY).removeprefix("sha256:"))


@pytest.mark.parametrize("wrong", ["sha256:", "sha256:12ab", "sha256:" + "g" * 64, hashed(KEY) + "0"])
def test_a_broken_hash_stops_the_start_and_is_not_shown(wrong: str, file: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"TANDEM_API_KEYS: .*64 hexadecimal digits") as told:
        load_settings(api_keys=f"{KEY},{wrong}")
    assert KEY not in told.value.message
    file.write_text(f"{KEY}\n{wrong}\n")
    with pytest.raises(ConfigurationError, match=r"TANDEM_API_KEYS_FILE=.*line 2: .*64 hexadecimal digits") as told:
        ApiKeys([], file)
    assert KEY not in told.value.message


def test_the_node_s_own_key_is_taken_besides() -> None:
    keys = ApiKeys([SecretStr(hashed(KEY))], internal=OTHER)
    assert keys.holder(OTHER) == Caller(INTERNAL, frozenset({"ingest"}), ())
    assert known(keys, KEY)
    assert not known(ApiKeys([SecretStr(KEY)]), OTHER)


def test_keys_of_a_file_count_besides_those_of_the_setting(file: Path) -> None:
    keys = ApiKeys([SecretStr("of-the-setting-itself")], file)
    assert all(known(keys, key) for key in ("of-the-setting-itself", KEY, OTHER))
    assert not known(keys, "# of this test")
    assert not known(keys, "")


def test_a_changed_file_is_read_again(file: Path, clock: Clock) -> None:
    keys = ApiKeys([], file, clock=clock)
    file.write_text("a-new-key-of-this-test\n")
    assert known(keys, KEY)  # not looked at yet
    clock.now += LOOK_SECONDS
    assert not known(keys, KEY)
    assert known(keys, "a-new-key-of-this-test")


@pytest.mark.parametrize("content", [b"", b"# nothing\n", b"sha256:12\n", b"\xff\xfe\n", None])
def test_what_cannot_be_read_later_changes_nothing(file: Path, clock: Clock, content: bytes | None) -> None:
    keys = ApiKeys([], file, clock=clock)
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    clock.now += LOOK_SECONDS
    with capture_logs() as logs:
        assert known(keys, KEY)
        assert not known(keys, "")
    assert [each["log_level"] for each in logs] == ["error"]
    with pytest.raises(ConfigurationError, match="TANDEM_API_KEYS_FILE"):
        ApiKeys([], file)
    # Mended, it counts again.
    file.write_text("mended-key-of-this-test\n")
    clock.now += LOOK_SECONDS
    assert known(keys, "mended-key-of-this-test")


def test_readable_files_and_short_keys_are_warned_of_and_not_shown(file: Path) -> None:
    def warnings(text: str, mode: int, *keys: str) -> int:
        file.write_text(text)
        file.chmod(mode)
        with capture_logs() as logs:
            ApiKeys([SecretStr(key) for key in keys], file)
        assert KEY not in repr(logs)
        assert "tiny-key" not in repr(logs)
        return len(logs)

    assert warnings(KEY, 0o600) == 0
    assert warnings(KEY, 0o644) == 1
    assert warnings(hashed(KEY), 0o644) == 0
    assert warnings("tiny-key", 0o600) == 1
    assert warnings(KEY, 0o600, "tiny-key") == 1


def test_a_file_alone_makes_the_node_ask(file: Path) -> None:
    assert load_settings(api_keys_file=file).requires_keys
    assert load_settings(api_keys=KEY).requires_keys
    assert not load_settings().requires_keys
