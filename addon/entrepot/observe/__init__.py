"""What the process knows of its work: a record of each request, folded into sums, kept on disk."""
