"""What the documentation says: its pages as values, and the parts of them that the code writes."""
