"""Whether a request was made by a page of ours, as the browser says: the check against CSRF.

Browsers send ``Origin`` with each POST and ``Sec-Fetch-Site`` with each request, and no script can
set either. A program that is no browser sends neither.
"""

from collections.abc import Mapping


def is_same_origin(headers: Mapping[str, str]) -> bool:
    """Whether no other site made it; ``headers`` by lower-case names."""
    site = headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    if origin is None:
        return True
    scheme, _, authority = origin.partition("://")
    return scheme in ("http", "https") and authority == headers.get("host", "")
