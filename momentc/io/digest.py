"""The digest of all that is held against what was written: BLAKE2b of 128 bits."""

import hashlib

__all__ = ["DIGEST_BYTES", "new_digest", "tagged"]

DIGEST_BYTES = 16


def new_digest(data: bytes | memoryview = b"") -> "hashlib.blake2b":
    """Return a digest, of some data already."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES)


def tagged(digest: "hashlib.blake2b") -> str:
    """Return ``blake2b-128:<hex>``."""
    return f"blake2b-128:{digest.hexdigest()}"
