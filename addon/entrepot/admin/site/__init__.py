"""The page itself: routes, templates, the API, and what it answers to changes."""
