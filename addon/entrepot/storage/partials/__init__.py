"""What is not whole yet: the files of downloads and pushes, and which bytes a sparse one has."""
