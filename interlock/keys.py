"""The keys that payloads are encrypted with: ``INTERLOCK_ENCRYPTION_KEY``. Reads no other place, writes none.

A key is 32 random bytes in base64. Several are separated by commas: the first encrypts, every one decrypts, so that
a new key is put in front of the old one and the old one goes when no run needs it any more.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from interlock.errors import BadKey

VARIABLE = "INTERLOCK_ENCRYPTION_KEY"
SIZE = 32
HINT = "a key is 32 random bytes in base64; interlock codec-server --new-key makes one"


@dataclass(frozen=True)
class Keys:
    """Keys by their ids, the one that encrypts first. Never shown: not in ``repr``, not in an error."""

    by_id: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ``BadKey``, in a line that says which of them is wrong and holds nothing of it."""
        each = text.split(",")
        found = {key_id(key): key for key in (_key(part.strip(), n, len(each)) for n, part in enumerate(each, 1))}
        return cls(found)

    @classmethod
    def of_environment(cls) -> Self | None:
        """``INTERLOCK_ENCRYPTION_KEY``; ``None`` when it is not set, or empty: nothing is encrypted then."""
        text = os.environ.get(VARIABLE, "").strip()
        return cls.parse(text) if text else None

    @property
    def first(self) -> str:
        """The id of the key that encrypts."""
        return next(iter(self.by_id))

    def derived(self, key: str, *purpose: str) -> bytes:
        """The key for one purpose, from the key with the id ``key``. One for each workflow keeps random nonces apart
        for longer than any fleet lives: 2**32 payloads of one workflow, and not of all of them."""
        parts = "".join(f"{len(each.encode())}:{each}" for each in purpose)
        return hmac.digest(self.by_id[key], f"interlock {parts}".encode(), "sha256")

    def seal(self, said: str) -> str:
        """Proof that whoever says ``said`` holds the key."""
        return self._sealed(self.first, said)

    def is_sealed(self, said: str, seal: str) -> bool:
        key = seal.partition(".")[0]
        return key in self.by_id and hmac.compare_digest(self._sealed(key, said).encode(), seal.encode())

    def _sealed(self, key: str, said: str) -> str:
        return f"{key}.{hmac.digest(self.derived(key, 'seal'), said.encode(), 'sha256').hex()}"


def new_key() -> str:
    """A key, as it is written into the environment."""
    return base64.b64encode(secrets.token_bytes(SIZE)).decode()


def key_id(key: bytes) -> str:
    """The name of a key, which tells nothing of it: a part of its hash."""
    return hashlib.sha256(b"interlock key id\0" + key).hexdigest()[:16]


def _key(text: str, number: int, of: int) -> bytes:
    which = VARIABLE if of == 1 else f"{VARIABLE}: key {number} of {of}"
    if not text:
        raise BadKey(f"{which} is empty: {HINT}")
    try:
        key = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        raise BadKey(f"{which} is not base64: {HINT}") from None
    if len(key) != SIZE:
        raise BadKey(f"{which} has {len(key)} bytes, not {SIZE}: {HINT}")
    return key
