"""Explains the refusals of an S3 service by code and status only: the body of a response may repeat the request's
signature or its session token."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from obstore.exceptions import BaseError

KEYS = "check TANDEM_S3_ACCESS_KEY and TANDEM_S3_SECRET_KEY"
BUCKET = "make it, or name another in TANDEM_BLOBS"
REGION = "check TANDEM_S3_REGION and TANDEM_S3_ENDPOINT"
STYLE = "try TANDEM_S3_STYLE with its other value"
RIGHTS = f"allow the key to list the bucket and to read, write and delete below the prefix, or {KEYS}"

ERRORS = (BaseError, OSError)
"""The exceptions that obstore raises for missing and unsuccessful answers."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the service refuses. `reason` and `remedy` are parts of a sentence."""

    reason: str
    remedy: str
    lasting: bool
    """A retry does not help: a setting is wrong, here or in the bucket."""


LASTING: Mapping[str, tuple[str, str]] = {
    "NoSuchBucket": ("there is no such bucket", BUCKET),
    "InvalidBucketName": ("the bucket cannot have that name", BUCKET),
    "InvalidAccessKeyId": ("the access key is not known there", KEYS),
    "SignatureDoesNotMatch": ("the secret key does not fit the access key", KEYS),
    "InvalidToken": ("the session token is not known there", "check AWS_SESSION_TOKEN"),
    "AccessDenied": ("access is denied", RIGHTS),
    "AllAccessDisabled": ("access is denied", RIGHTS),
    "PermanentRedirect": ("the bucket is in another region", REGION),
    "AuthorizationHeaderMalformed": ("the bucket is in another region", REGION),
    "IllegalLocationConstraintException": ("the bucket is in another region", REGION),
    # Codes of Aliyun OSS and Huawei OBS for a path-style request.
    "SecondLevelDomainForbidden": ("the service requires the bucket in the host name", STYLE),
    "VirtualHostDomainRequired": ("the service requires the bucket in the host name", STYLE),
}
STATUSES: Mapping[str, str] = {
    "status 301": "PermanentRedirect",
    "status 401": "InvalidAccessKeyId",
    "status 403": "AccessDenied",
}
"""Codes for answers without a body."""


def is_missing(error: Exception) -> bool:
    """Returns whether the object does not exist. A missing bucket is a different error."""
    return isinstance(error, FileNotFoundError) and _code(str(error)) != "NoSuchBucket"


def explain(error: Exception) -> Refusal:
    text = str(error)
    if "/latest/api/token" in text or "/latest/meta-data/" in text:
        return Refusal("no credentials were found", "set TANDEM_S3_ACCESS_KEY and TANDEM_S3_SECRET_KEY", lasting=True)
    code, status = _code(text), re.search(r"status code: (\d{3})", text)
    if code is None and status is None:
        return Refusal("the service does not answer", "check that it runs, and TANDEM_S3_ENDPOINT", lasting=False)
    reported = code or f"status {status[1] if status else ''}"
    if known := LASTING.get(code or STATUSES.get(reported, "")):
        reason, remedy = known
        return Refusal(f"{reason} ({reported})", remedy, lasting=True)
    return Refusal(f"the service refused with {reported}", "see its own status and logs", lasting=False)


def _code(text: str) -> str | None:
    found = re.search(r"<Code>([A-Za-z0-9.]{1,64})</Code>", text)
    return found[1] if found else None
