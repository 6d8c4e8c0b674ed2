"""The commands about the certificate authority."""
