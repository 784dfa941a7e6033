"""What schemathesis checks besides its own: an error's code is one that the route documents under its status."""

import schemathesis


def code_of(body):  # type: ignore[no-untyped-def]
    """In whichever shape the route writes its errors."""
    if "error_msg" in body:  # Dify's, which ends with the code
        return body["error_msg"].rpartition("(")[2].rstrip(")")
    return body.get("code") or body.get("error", {}).get("code")


@schemathesis.check
def documented_error_code(ctx, response, case):  # type: ignore[no-untyped-def]
    if response.status_code < 400:
        return
    code = code_of(response.json())
    if code in (None, "route_not_found", "method_not_allowed"):  # readiness; a path or method of no route
        return
    told = case.operation.definition.raw["responses"].get(str(response.status_code), {}).get("content", {})
    examples = told.get("application/json", {}).get("examples", {})
    assert code in examples, f"{response.status_code} {code} is not documented, only {', '.join(examples) or 'nothing'}"
