"""Requests to verify what is stored: which objects there are, and step by step how they are.

A client asks for ``objects``, page by page, and then has them verified in the same words: so it
knows how far it is, and the proxy keeps nothing of it.
"""

from entrepot.control import request_members as members
from entrepot.control.contents import stored_object
from entrepot.control.documents import Document
from entrepot.control.request_members import Members
from entrepot.maintenance.verification import Damaged, Turn, Verification
from entrepot.protocol.image_names import ImageName
from entrepot.storage.diskcache_db.resting_objects import StoredObject
from entrepot.storage.inventory.images import HeldObjects
from entrepot.storage.store import Store

MOST = 1000
"""Objects on a page, and in one request."""


class Verifying:
    """Answers these requests, each on whichever thread it comes."""

    def __init__(self, store: Store, turn: Turn) -> None:
        self._inventory = store.inventory
        self._verification = Verification(store, turn)

    def objects(self, request: Members) -> Document:
        """A page of the objects of named images, or of all that is stored."""
        names = members.names(request) if request.get("names") else list[ImageName]()
        after = members.text(request, "after", "")
        most = members.number(request, "limit", MOST, MOST)
        return _page(self._inventory.held(names, after, most), most)

    def verify(self, request: Members) -> Document:
        """Verify some of these objects, in their order, for about a second."""
        objects = [stored_object(one) for one in members.objects(request, "objects", MOST)]
        if not objects:
            raise ValueError("expected objects to be some objects")
        step = self._verification.step(objects)
        return {
            "done": step.done,
            "size": step.size,
            "gone": step.gone,
            "damaged": [_damaged(one) for one in step.damaged],
        }


def _page(found: HeldObjects, most: int) -> Document:
    last = found.objects[-1][0] if len(found.objects) == most else None
    objects = []
    for key, size in found.objects:
        try:
            one = StoredObject.of_key(key)
        except ValueError:
            continue  # a damaged row
        objects.append({**_said(one), "size": size})
    return {"objects": objects, "next": last, "count": found.count, "size": found.size}


def _said(one: StoredObject) -> Document:
    registry = None if one.origin is None else str(one.origin)
    return {"kind": one.kind, "digest": str(one.digest), "registry": registry}


def _damaged(one: Damaged) -> Document:
    return {
        **_said(one.object),
        "reason": one.reason,
        "moved_to": None if one.moved_to is None else str(one.moved_to),
        "images": list(one.images),
    }
