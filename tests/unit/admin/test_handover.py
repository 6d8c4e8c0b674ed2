"""A request handed over as ASGI has it."""

import asyncio

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from entrepot.admin.handover import hand_over
from entrepot.endpoints.page_request import PageRequest
from entrepot.protocol.messages import Answer


async def echo(request: Request) -> JSONResponse:
    return JSONResponse(
        {
            "method": request.method,
            "path": request.path_params["path"],
            "query": request.query_params.getlist("a"),
            "fields": request.headers.getlist("x-mine"),
            "content": (await request.body()).decode(),
            "client": request.client.host if request.client else None,
        }
    )


APPLICATION = Starlette(routes=[Route("/{path:path}", echo, methods=["GET", "POST"])])


def ask(method: str, target: str) -> Answer:
    fields = (("Host", "cache"), ("X-Mine", "one"), ("x-mine", "two"))
    request = PageRequest(method, target, fields, b"text", "10.0.0.1")
    return asyncio.run(hand_over(APPLICATION, request))


def test_all_of_a_request_arrives() -> None:
    """Its path is decoded once, its fields keep their order."""
    answer = ask("POST", "/a%2Fb%20c/%C3%A9?a=1&a=%26")
    assert answer.status == 200
    assert answer.content == (
        b'{"method":"POST","path":"a/b c/\xc3\xa9","query":["1","&"],"fields":["one","two"],'
        b'"content":"text","client":"10.0.0.1"}'
    )
    assert dict(answer.headers)["Content-Length"] == str(len(answer.content))


def test_a_head_has_the_length_alone() -> None:
    """What GET would send."""
    answer = ask("HEAD", "/a")
    assert answer.content == b""
    assert int(dict(answer.headers)["Content-Length"]) > 0
