"""Ways of pushing a blob: each form that is kept, and what is odd and not kept."""

import itertools

from unit.push.world import DATA, DIGEST, PLACE, UPLOADS, World


async def monolithic(world: World) -> None:
    world.begin()
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", DATA, 201)


async def at_once(world: World) -> None:
    world.ask("POST", f"{UPLOADS}?digest={DIGEST}", DATA, 201)


async def not_at_once(world: World) -> None:
    """The registry does not take the bytes with the POST (distribution 2.8)."""
    world.ask("POST", f"{UPLOADS}?digest={DIGEST}", DATA, 202, ("Location", PLACE))
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", DATA, 201)


async def mount_refused(world: World) -> None:
    mount = f"{UPLOADS}?mount={DIGEST}&from=other"
    world.ask("POST", mount, b"", 202, ("Location", PLACE))
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", DATA, 201)


async def one_patch(world: World) -> None:
    world.begin()
    world.ask("PATCH", PLACE, DATA, 202, ("Location", PLACE))
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", b"", 201)


async def patches(world: World) -> None:
    """Each with its place, of which the registry keeps the state; the rest with the PUT."""
    world.begin(f"https://registry.example.test{PLACE}?_state=0")
    cuts = (0, 1, 70_000, 70_001, 200_000)
    for number, (first, stop) in enumerate(itertools.pairwise(cuts)):
        span = ("Content-Range", f"{first}-{stop - 1}")
        here, then = f"{PLACE}?_state={number}", f"{PLACE}?_state={number + 1}"
        world.ask("PATCH", here, DATA[first:stop], 202, ("Location", then), fields=(span,))
    world.ask("PUT", f"{PLACE}?_state=4&digest={DIGEST}", DATA[200_000:], 201)


async def rewritten_query(world: World) -> None:
    """Go's clients parse the query and write it anew, sorted."""
    world.begin(f"{PLACE}?state=a%3Db/c&id=%31&empty=")
    world.ask("PUT", f"{PLACE}?digest={DIGEST}&empty=&id=1&state=a%3Db%2Fc", DATA, 201)


async def relative(world: World) -> None:
    world.begin("7f3a")
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", DATA, 201)


async def another_path(world: World) -> None:
    """As Google's registries have it."""
    world.begin("/artifacts-uploads/namespaces/p/uploads/AF-x_")
    world.ask("PATCH", "/artifacts-uploads/namespaces/p/uploads/AF-x_", DATA, 202)
    world.ask("PUT", f"/artifacts-uploads/namespaces/p/uploads/AF-x_?digest={DIGEST}", b"", 201)


async def asked_between(world: World) -> None:
    world.begin()
    world.ask("PATCH", PLACE, DATA[:1000], 202, ("Location", PLACE))
    world.ask("GET", PLACE, b"", 204, ("Location", f"{PLACE}?new"), ("Range", "0-999"))
    world.ask("PATCH", f"{PLACE}?new", DATA[1000:], 202)
    world.ask("PUT", f"{PLACE}?new&digest={DIGEST}", b"", 201)


FORMS = [
    monolithic,
    at_once,
    not_at_once,
    mount_refused,
    one_patch,
    patches,
    rewritten_query,
    relative,
    another_path,
    asked_between,
]


async def wrong_bytes(world: World) -> None:
    world.begin()
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", DATA[:-1] + b"x", 201)


async def refused(world: World) -> None:
    world.begin()
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", DATA, 400)


async def perhaps_later(world: World) -> None:
    world.begin()
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", DATA, 202)


async def refused_after_all(world: World) -> None:
    world.begin()
    world.ask("PATCH", PLACE, DATA, 202)
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", b"", 500)


async def part_refused(world: World) -> None:
    world.begin()
    world.ask("PATCH", PLACE, DATA[:9], 202)
    world.ask("PATCH", PLACE, DATA[9:], 416, ("Location", PLACE), ("Range", "0-8"))
    world.ask("PATCH", PLACE, DATA[9:], 202)
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", b"", 201)


async def overlap(world: World) -> None:
    world.begin()
    world.ask("PATCH", PLACE, DATA[:100], 202)
    world.ask("PATCH", PLACE, DATA[90:], 202, fields=(("Content-Range", "90-255999"),))
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", b"", 201)


async def gap(world: World) -> None:
    """One part went past the proxy."""
    world.begin()
    world.ask("PATCH", PLACE, DATA[:100], 202)
    world.ask("PATCH", PLACE, DATA[200:], 202, fields=(("Content-Range", "200-255999"),))
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", b"", 201)


async def silent_gap(world: World) -> None:
    world.begin()
    world.ask("PATCH", PLACE, DATA[200:], 202)
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", b"", 201)


async def odd_range(world: World) -> None:
    world.begin()
    world.ask("PATCH", PLACE, DATA, 202, fields=(("Content-Range", "all of it"),))
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", b"", 201)


async def coded(world: World) -> None:
    world.begin()
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", DATA, 201, fields=(("Content-Encoding", "gzip"),))


async def coded_at_once(world: World) -> None:
    gzip = (("Content-Encoding", "gzip"),)
    world.ask("POST", f"{UPLOADS}?digest={DIGEST}", DATA, 201, fields=gzip)


async def other_host(world: World) -> None:
    world.begin(f"https://uploads.example.test{PLACE}")
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", DATA, 201)


async def nowhere(world: World) -> None:
    world.begin("http://[")
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", DATA, 201)


async def unknown_place(world: World) -> None:
    """As after a restart in mid-upload."""
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", DATA, 201)


async def moved_elsewhere(world: World) -> None:
    world.begin()
    world.ask("PATCH", PLACE, DATA, 202, ("Location", f"{UPLOADS}8"))
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", b"", 201)


async def cancelled(world: World) -> None:
    world.begin()
    world.ask("PATCH", PLACE, DATA, 202)
    world.ask("DELETE", PLACE, b"", 204)
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", b"", 201)


async def client_left(world: World) -> None:
    world.begin()
    watched = world.watch("PUT", f"{PLACE}?digest={DIGEST}")
    assert watched is not None
    watched.add(DATA)
    watched.broken()
    watched.answered(201, ())


async def answered_too_early(world: World) -> None:
    """A 201 to what was not whole yet."""
    world.begin()
    watched = world.watch("PUT", f"{PLACE}?digest={DIGEST}")
    assert watched is not None
    watched.add(DATA)
    watched.answered(201, ())
    watched.add(b"")


async def two_at_one_upload(world: World) -> None:
    world.begin()
    one = world.watch("PATCH", PLACE)
    assert one is not None
    assert world.watch("PATCH", PLACE) is None
    one.add(DATA[:5000])
    one.add(b"")
    one.answered(202, ())
    world.ask("PUT", f"{PLACE}?digest={DIGEST}", b"", 201)


async def no_digest(world: World) -> None:
    world.begin()
    world.ask("PUT", PLACE, DATA, 201)


async def two_digests(world: World) -> None:
    world.begin()
    world.ask("PUT", f"{PLACE}?digest={DIGEST}&digest={DIGEST}", DATA, 201)


async def md5(world: World) -> None:
    world.begin()
    world.ask("PUT", f"{PLACE}?digest=md5:d41d8cd98f00b204e9800998ecf8427e", DATA, 201)


async def endless_query(world: World) -> None:
    world.begin(f"{PLACE}?{'&'.join('a' * 1000)}")
    world.ask("PUT", f"{PLACE}?digest={DIGEST}&{'&'.join('a' * 1000)}", DATA, 201)


FAILURES = [
    wrong_bytes,
    refused,
    perhaps_later,
    refused_after_all,
    part_refused,
    overlap,
    gap,
    silent_gap,
    odd_range,
    coded,
    coded_at_once,
    other_host,
    nowhere,
    unknown_place,
    moved_elsewhere,
    cancelled,
    client_left,
    answered_too_early,
    two_at_one_upload,
    no_digest,
    two_digests,
    md5,
    endless_query,
]
