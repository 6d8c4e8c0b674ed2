"""As whom the proxy asks by itself: an account, its login, and the label that the store knows."""

from entrepot.protocol.account import ANYONE, NOBODY, Account, Login


def test_a_secret_shows_nowhere() -> None:
    """Whatever prints an account or a login."""
    account = Account("robot", "hunter2")
    login = account.login()
    assert login is not None
    assert "hunter2" not in f"{account!r} {login!r} {account} {login}"


def test_a_refused_login_is_not_given_again() -> None:
    """A source is told, so that it can look for another."""
    told: list[Login | None] = []

    def source(refused: Login | None) -> Login | None:
        told.append(refused)
        return Login("robot", "old" if refused is None else "new")

    changing, fixed = Account("robot", source=source), Account("robot", "old")
    old, new = Login("robot", "old"), Login("robot", "new")
    assert (changing.login(), changing.login(old)) == (old, new)
    assert told == [None, old]
    assert (fixed.login(), fixed.login(old)) == (old, None)


def test_a_label_is_one_word() -> None:
    """It stands in keys of the store, between blanks."""
    assert Account("an account/of mine").label == "account=an%20account%2Fof%20mine"
    assert NOBODY.label == ANYONE
