"""What to expect of evidence, computed from the files that a guest boots; pure: bytes in, digests out."""
