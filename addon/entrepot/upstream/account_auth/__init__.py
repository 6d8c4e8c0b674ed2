"""As whom registries are asked: an account's login, or a token that it is good for."""
