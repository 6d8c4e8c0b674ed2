"""Who may read the page, who may change something, and what a browser is told to forbid."""
