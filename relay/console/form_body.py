"""The body of a form that was sent."""

from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

_LARGEST = 64 * 1024
_MOST_FIELDS = 50


async def read_body(request: Request) -> dict[str, str]:
    """Return the fields of a form, the last value of each.

    Raises:
        HTTPException: 413: it is too large; 415: it is no form; 400: its text is no UTF-8, or did not come whole.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise HTTPException(415, "this takes a form")
    body = b""
    try:
        async for part in request.stream():
            body += part
            if len(body) > _LARGEST:
                raise HTTPException(413, "this form is too large")
    except ClientDisconnect:
        raise HTTPException(400, "this form did not come whole") from None
    try:
        fields = parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
    except ValueError:
        raise HTTPException(400, "this form cannot be read") from None
    return {name: values[-1] for name, values in fields.items()}
