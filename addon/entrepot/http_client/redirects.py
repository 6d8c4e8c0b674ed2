"""Which redirects are followed, and what goes along, by the rules of the registry protocol.

Any status of 301, 302, 303, 307, 308, by the same method; relative targets; at most five; nothing
that identifies the client leaves for another host (S3, ACR and GCS answer 400 to a forwarded
``Authorization``). A step down from https to plain http is followed only for content that is named
by its digest, since only there a forged answer shows.
"""

from entrepot.http_client.request import Follow, SendOptions, Target
from entrepot.http_client.response import Reply
from entrepot.protocol.header_filters import ACROSS_HOSTS, only
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Fields

MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})


def redirect_target(reply: Reply, options: SendOptions) -> Target | None:
    """Where to go on to; None where ``reply`` is what the caller gets."""
    if options.follow is Follow.NO or reply.status not in REDIRECTS:
        return None
    location = reply.value("Location")
    if location is None:
        return None
    try:
        target = reply.target.join(location)
    except ValueError:
        return None
    is_downgrade = reply.target.origin.scheme == "https" != target.origin.scheme
    return None if is_downgrade and not options.downgrade else target


def redirected_fields(fields: Fields, origin: Origin, target: Origin) -> Fields:
    """What goes along from ``origin`` to ``target``."""
    return fields if origin == target else only(fields, ACROSS_HOSTS)
