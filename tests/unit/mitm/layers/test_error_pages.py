"""The answer to a request that failed."""

from mitmproxy import http

from entrepot.mitm.layers.error_pages import refusal, unanswered


def test_the_form_of_an_answer() -> None:
    """OCI errors to who asks for /v2/, wherever; lines to others; to HEAD a head alone."""
    request = http.Request.make("HEAD", "http://[::1]:5000/v2/a/tags/list?n=1")
    answer = unanswered(request, "it is away", oci=False)
    assert (answer.status_code, answer.raw_content) == (502, b"")
    assert answer.headers["Cache-Status"] == "entrepot; fwd=bypass; detail=tags"
    request.method = "GET"
    told = unanswered(request, "it is away", oci=False)
    assert len(told.raw_content or b"") == int(answer.headers["Content-Length"])
    assert b"upstream: http://[::1]:5000: it is away" in (told.raw_content or b"")
    request.path = "/other"
    assert refusal(400, "wrong", request, oci=False).raw_content == b"wrong\n"
    assert refusal(400, "wrong", None, oci=False).headers["Content-Type"].startswith("text/plain")
    inside = refusal(400, "wrong", None, oci=True)
    assert inside.headers["Cache-Status"] == "entrepot; detail=error"
