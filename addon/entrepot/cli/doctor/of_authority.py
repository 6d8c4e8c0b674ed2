"""The certificate authority: that it is there, holds on, and who trusts it."""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime

from entrepot.cli.doctor.finding import Finding, note, ok, problem, warning
from entrepot.config.settings import Config
from entrepot_ca import Authority, AuthorityError, load


def check_authority(config: Config, now: datetime) -> Iterator[Finding]:
    """Whether it can sign, for how long, and whether its key is kept."""
    folder = config.data / "ca"
    try:
        authority = load(folder, now=now)
    except (AuthorityError, OSError) as error:
        if not folder.exists():
            yield note("authority", "there is none yet: the first start makes one")
        else:
            yield problem("authority", str(error), "see `entrepot ca create --help`")
        return
    if authority.expires_within(now):
        said = f"it expires on {authority.expires:%Y-%m-%d}"
        yield warning("authority", said, "entrepot ca rotate")
    else:
        yield ok("authority", f"good until {authority.expires:%Y-%m-%d}")
    yield _trust(authority)


def _trust(authority: Authority) -> Finding:
    """Whether this machine's own programs trust it."""
    own = ssl.PEM_cert_to_DER_cert(authority.certificate_pem.decode())
    context = ssl.create_default_context()
    if own in context.get_ca_certs(binary_form=True):
        return ok("trust", "this machine trusts it")
    return note(
        "trust",
        "this machine does not trust it, which matters where it pulls images itself",
        "sh ca/install.sh, as on any client",
    )


def now_utc() -> datetime:
    """The time of day."""
    return datetime.now(UTC)
