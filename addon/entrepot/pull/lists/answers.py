"""Answers made of a kept list."""

from entrepot.protocol.cache_status import CacheStatus
from entrepot.protocol.header_filters import without
from entrepot.protocol.headers import etag_matches
from entrepot.protocol.messages import Answer, Fields, Request, error_answer
from entrepot.storage.lists.kept_list import KeptList


def kept_answer(request: Request, found: KeptList, how: CacheStatus, age: float) -> Answer:
    """Answer GET or HEAD; ``age``: seconds since the registry said that it is this."""
    more: Fields = (("Age", str(max(0, int(age)))), how)
    head, content = found.head, found.content
    if head.status != 200:
        message = f"the registry last answered {head.status}"
        told = error_answer(head.status, "NOT_FOUND", message).adding(*more)
        return Answer(told.status, told.headers, b"" if request.method == "HEAD" else told.content)
    condition = request.value("If-None-Match")
    if condition is not None and head.etag is not None and etag_matches(condition, head.etag):
        return Answer(304, (*without(head.headers, ("content-type",)), *more))
    headers = (*head.headers, ("Content-Length", str(len(content))), *more)
    return Answer(200, headers, b"" if request.method == "HEAD" else content)
