"""``entrepot ca show``: the authority's path, fingerprint, expiry and constraints; a rotation."""

from datetime import UTC, datetime

from entrepot.cli.ca.standing import date_text, described, print_clients, standing
from entrepot.cli.frame.definition import FOLDER, JSON, command
from entrepot.cli.frame.output import print_document
from entrepot.config.settings import Config
from entrepot_ca import Rotation, describe


@command(
    settings=FOLDER,
    forms=("text", JSON, "yaml"),
    details="While it is being replaced (entrepot ca rotate), the other one too, from when on which"
    " of them signs, and the clients that have not fetched the successor.",
    examples=(("entrepot ca show", "with the fingerprint that clients compare"),),
)
def show(config: Config, form: str) -> None:
    """Print it. Raises ``AuthorityError`` where there is none, or none that can be read."""
    told, runs = described(config.data)
    if form != "text":
        print_document(told, form)
        return
    stands, now = standing(config.data), datetime.now(UTC)
    print(describe(stands.authority, now))
    if stands.rotation is not None:
        print()
        _print_rotation(stands.rotation, now)
        print_clients(told, runs=runs)


def _print_rotation(rotation: Rotation, now: datetime) -> None:
    if rotation.switched:
        print(
            f"It signs since {date_text(rotation.switch)}. For clients that are not ready the one"
        )
        print(f"before does, until {date_text(rotation.ends)}:")
        print(describe(rotation.predecessor, now))
        return
    print(f"It signs until {date_text(rotation.switch)}. From then on its successor does, which is")
    print(f"announced since {date_text(rotation.announced)}:")
    print(describe(rotation.successor, now))
