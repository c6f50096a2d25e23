"""Reads the opinion form with its files: in memory only, so that no paper lies open in a temporary file."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from service.auth.sessions import SignedIn
from service.errors import BodyTooLargeError, FormExpiredError, MalformedRequestError
from service.review.attachments import NewFile
from service.web.access import MOST_FIELDS, FormFields, Visitor, is_same_origin, posted_form

MULTIPART = "multipart/form-data"
MOST_UPLOADS = 20
"""Files sent at once; the length of the whole is bounded by ONEPERSON_MAX_BODY_BYTES."""

LONGEST_FIELD_BYTES = 64 * 2**10
"""A reason of 2,000 characters is at most 8,000 bytes long."""


class _InMemory(MultiPartParser):
    """Starlette's parser writes long files to a temporary file; this one none, for the body is bounded."""

    spool_max_size = 2**40


@dataclass(frozen=True, slots=True)
class OpinionPost:
    """What was sent from the page of a case.

    Attributes:
        fields: By name; of one that came twice the last.
        files: By the name of the field; only those that were chosen.
    """

    fields: FormFields
    files: Mapping[str, NewFile] = field(default_factory=dict)


async def posted_opinion(request: Request, visitor: Visitor) -> OpinionPost:
    """Read a form of the visitor's own session, with files or without.

    Raises:
        FormExpiredError: Another site's page sent it, or it lacks the session's token.
        BodyTooLargeError: It is too long.
        MalformedRequestError: It is no form.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip()
    post = await _multipart(request) if kind == MULTIPART else OpinionPost(await posted_form(request))
    _require_token(post.fields, visitor)
    return post


Opinion = Annotated[OpinionPost, Depends(posted_opinion)]


async def _multipart(request: Request) -> OpinionPost:
    if not is_same_origin(request):
        raise FormExpiredError("Send the form from the page that shows it.")
    longest = request.app.state.settings.max_body_bytes
    length = request.headers.get("content-length", "")
    if not (length.isascii() and length.isdigit() and int(length) <= longest):
        raise BodyTooLargeError(f"A form has at most {longest} bytes, and says how many.")
    parser = _InMemory(
        request.headers,
        request.stream(),
        max_files=MOST_UPLOADS * 50,  # Empty fields count, too; a page has three for each candidate.
        max_fields=MOST_FIELDS,
        max_part_size=LONGEST_FIELD_BYTES,
    )
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError) as error:
        raise MalformedRequestError("The form cannot be read.") from error
    fields: FormFields = {}
    files: dict[str, NewFile] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if value.filename:
                files[name] = NewFile(value.filename, await value.read())
            await value.close()
        else:
            fields[name] = value
    return OpinionPost(fields, files)


def _require_token(fields: Mapping[str, str], visitor: SignedIn) -> None:
    if not hmac.compare_digest(fields.get("csrf", "").encode(), visitor.csrf_token.encode()):
        raise FormExpiredError("The form belongs to another session; open the page again.")
