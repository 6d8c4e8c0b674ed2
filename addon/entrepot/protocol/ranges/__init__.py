"""Parts of content: which of them a client asks for, and how several go in one answer."""
