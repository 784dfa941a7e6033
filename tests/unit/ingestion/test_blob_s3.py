"""Options of a bucket, and what an S3 service's refusals are told as."""

import pytest

from ingestion.blobs.naming import hash_at, path_of
from ingestion.blobs.s3 import S3BlobStore, S3Options, open_bucket
from ingestion.blobs.s3_errors import explain, is_missing

NAME = "ab" * 32


def refused(status: str, code: str = "") -> Exception:
    body = f"<Error><Code>{code}</Code><Message>…</Message></Error>" if code else ""
    return OSError(
        f"Error performing PUT https://host/bucket/key in 1ms - Server returned status code: {status}: {body}"
    )


def test_no_secret_shows() -> None:
    options = S3Options(bucket="originals", access_key="the-key", secret_key="the-secret")
    store = S3BlobStore(options)
    shown = f"{options} {store!r} {vars(store)} {open_bucket(options).config}"
    assert "the-key" not in shown
    assert "the-secret" not in shown


@pytest.mark.parametrize(
    ("error", "words", "lasting"),
    [
        (refused("404 Not Found", "NoSuchBucket"), ["no such bucket", "TANDEM_BLOBS"], True),
        (refused("403 Forbidden", "InvalidAccessKeyId"), ["access key", "TANDEM_S3_ACCESS_KEY"], True),
        (refused("403 Forbidden", "SignatureDoesNotMatch"), ["secret key", "TANDEM_S3_SECRET_KEY"], True),
        (refused("403 Forbidden", "AccessDenied"), ["denied", "list the bucket"], True),
        (refused("403 Forbidden"), ["denied", "status 403"], True),
        (refused("401 Unauthorized"), ["access key", "status 401"], True),
        (refused("301 Moved", "PermanentRedirect"), ["region", "TANDEM_S3_REGION"], True),
        (refused("301 Moved"), ["region", "TANDEM_S3_ENDPOINT"], True),
        (refused("403 Forbidden", "SecondLevelDomainForbidden"), ["host name", "TANDEM_S3_STYLE"], True),
        (refused("403 Forbidden", "RequestTimeTooSkewed"), ["RequestTimeTooSkewed"], False),
        (refused("503 Slow Down", "SlowDown"), ["SlowDown"], False),
        (refused("507 Insufficient Storage"), ["status 507"], False),
        (OSError("HTTP error: error sending request"), ["does not answer", "TANDEM_S3_ENDPOINT"], False),
        (OSError("Error performing PUT http://169.254.169.254/latest/api/token"), ["no credentials"], True),
    ],
)
def test_refusals_name_reason_and_remedy(error: Exception, words: list[str], lasting: bool) -> None:
    refusal = explain(error)
    assert refusal.lasting is lasting
    assert all(word in f"{refusal.reason}; {refusal.remedy}" for word in words)


def test_a_bucket_that_is_gone_is_no_missing_blob() -> None:
    assert is_missing(FileNotFoundError("<Code>NoSuchKey</Code>"))
    assert not is_missing(FileNotFoundError("<Code>NoSuchBucket</Code>"))
    assert not is_missing(PermissionError("<Code>NoSuchKey</Code>"))


def test_names_and_paths() -> None:
    assert path_of(NAME) == f"ab/{NAME}"
    assert hash_at(path_of(NAME)) == NAME
    for path in (NAME, f"aa/{NAME}", f"x/ab/{NAME}", f"ab/{NAME}.part", "ab/.start", ""):
        assert hash_at(path) is None
