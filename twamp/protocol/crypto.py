"""The cryptography of the secured modes (RFC 4656 sections 3.1 to 3.4 and 4.1.2, RFC 5357 section 4.2.1).

Keys and initialization vectors come in as arguments: nothing here is random.  AES is the ``cryptography``
package's, PBKDF2 and HMAC the standard library's.
"""

import hashlib
import hmac
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, ECB

from twamp.errors import IntegrityError

BLOCK: Final = 16
HMAC_OCTETS: Final = 16
ZERO_IV: Final = bytes(BLOCK)


class SessionKeys(NamedTuple):
    """The keys that the Control-Client chose for one connection: AES and HMAC Session-key."""

    aes: bytes  # 16 octets
    hmac: bytes  # 32 octets

    def __repr__(self) -> str:
        return "SessionKeys(…)"  # never in a log


def token_key(passphrase: bytes, salt: bytes, count: int) -> bytes:
    """The 16-octet key of the Token: PBKDF2 with HMAC-SHA1 (RFC 4656 section 3.1).

    Takes ``count`` iterations of time, without the GIL.
    """
    return hashlib.pbkdf2_hmac("sha1", passphrase, salt, count, BLOCK)


def seal_token(key: bytes, challenge: bytes, keys: SessionKeys) -> bytes:
    """The Token: Challenge ‖ AES Session-key ‖ HMAC Session-key, in AES-CBC with IV 0."""
    return _encryptor(key, ZERO_IV).update(challenge + keys.aes + keys.hmac)


def open_token(key: bytes, challenge: bytes, token: bytes) -> SessionKeys | None:
    """The session keys in a Token, or None if it was not made with this key for this challenge."""
    opened = _decryptor(key, ZERO_IV).update(token)
    if not hmac.compare_digest(opened[:BLOCK], challenge):
        return None
    return SessionKeys(opened[BLOCK : 2 * BLOCK], opened[2 * BLOCK :])


def truncated_hmac(key: bytes, octets: bytes) -> bytes:
    """HMAC-SHA1, its first 16 octets (RFC 4656 section 3.2)."""
    return hmac.digest(key, octets, "sha1")[:HMAC_OCTETS]


def _encryptor(key: bytes, iv: bytes) -> CipherContext:
    return Cipher(AES(key), CBC(iv)).encryptor()


def _decryptor(key: bytes, iv: bytes) -> CipherContext:
    return Cipher(AES(key), CBC(iv)).decryptor()


# ---- control ---------------------------------------------------------------------------------------


class SealingStream:
    """Encrypts one direction of a control connection and adds the HMACs.

    The CBC chain runs on from message to message, and each HMAC covers everything since the last one
    (RFC 4656 sections 3.2 and 3.4).
    """

    def __init__(self, keys: SessionKeys, iv: bytes) -> None:
        self._cipher = _encryptor(keys.aes, iv)
        self._hmac_key = keys.hmac
        self._uncovered = b""

    def seal_block(self, octets: bytes) -> bytes:
        """Encrypts octets without an HMAC of their own: the end of Server-Start, which the next one covers."""
        self._uncovered += octets
        return self._cipher.update(octets)

    def seal(self, message: bytes) -> bytes:
        """Encrypts a message and replaces its HMAC field."""
        body = message[:-HMAC_OCTETS]
        mac = truncated_hmac(self._hmac_key, self._uncovered + body)
        self._uncovered = b""
        return self._cipher.update(body + mac)


class OpeningStream:
    """Decrypts the other direction block by block, and checks each message's HMAC."""

    def __init__(self, keys: SessionKeys, iv: bytes) -> None:
        self._cipher = _decryptor(keys.aes, iv)
        self._hmac_key = keys.hmac
        self._uncovered = b""
        self._partial = b""

    def decrypt(self, octets: bytes) -> bytes:
        """The whole blocks among these and earlier octets, in clear and not yet verified."""
        octets = self._partial + octets
        whole = len(octets) - len(octets) % BLOCK
        self._partial = octets[whole:]
        return self._cipher.update(octets[:whole])

    @property
    def partial(self) -> int:
        """The number of octets that wait for the rest of their block."""
        return len(self._partial)

    def cover(self, octets: bytes) -> None:
        """Adds octets without an HMAC of their own, which the next one covers."""
        self._uncovered += octets

    def verify(self, message: bytes) -> None:
        """Raises :class:`~twamp.errors.IntegrityError` unless the HMAC at the end of ``message`` fits."""
        mac = truncated_hmac(self._hmac_key, self._uncovered + message[:-HMAC_OCTETS])
        self._uncovered = b""
        if not hmac.compare_digest(mac, message[-HMAC_OCTETS:]):
            raise IntegrityError("the HMAC is wrong", section="RFC 4656 section 6.10")


# ---- test packets ------------------------------------------------------------------------------------


class PacketKeys(NamedTuple):
    """The keys of one test session, the same in both directions."""

    aes: bytes  # 16 octets
    hmac: bytes  # 32 octets

    def __repr__(self) -> str:
        return "PacketKeys(…)"


def packet_keys(sid: bytes, keys: SessionKeys) -> PacketKeys:
    """The keys of a test session: the control keys, encrypted with the SID (RFC 4656 section 4.1.2)."""
    return PacketKeys(
        Cipher(AES(sid), ECB()).encryptor().update(keys.aes),
        _encryptor(sid, ZERO_IV).update(keys.hmac),
    )


class Protection(Enum):
    """How much of a test packet is protected, in octets: (Session-Sender's, Session-Reflector's)."""

    AUTHENTICATED = (16, 16)
    ENCRYPTED = (32, 96)


@dataclass(frozen=True)
class PacketCipher:
    """Seals and opens test packets of authenticated and encrypted mode.

    Each packet stands alone: AES-CBC with IV 0 over the protected octets (of one block, that is ECB) and
    an HMAC over them in clear, itself in clear (RFC 5357 section 4.2).  What follows is padding.
    """

    protection: Protection
    keys: PacketKeys = field(repr=False)

    def seal_sender_packet(self, packet: bytes) -> bytes:
        return self._seal(packet, self.protection.value[0], 32)

    def open_sender_packet(self, packet: bytes) -> bytes:
        """Raises :class:`~twamp.errors.IntegrityError` if the HMAC does not fit."""
        return self._open(packet, self.protection.value[0], 32)

    def seal_reflector_packet(self, packet: bytes) -> bytes:
        return self._seal(packet, self.protection.value[1], 96)

    def open_reflector_packet(self, packet: bytes) -> bytes:
        """Raises :class:`~twamp.errors.IntegrityError` if the HMAC does not fit."""
        return self._open(packet, self.protection.value[1], 96)

    def _seal(self, packet: bytes, protected: int, hmac_at: int) -> bytes:
        clear = packet[:protected]
        return (
            _encryptor(self.keys.aes, ZERO_IV).update(clear)
            + packet[protected:hmac_at]
            + truncated_hmac(self.keys.hmac, clear)
            + packet[hmac_at + HMAC_OCTETS :]
        )

    def _open(self, packet: bytes, protected: int, hmac_at: int) -> bytes:
        clear = _decryptor(self.keys.aes, ZERO_IV).update(packet[:protected])
        found = packet[hmac_at : hmac_at + HMAC_OCTETS]
        if not hmac.compare_digest(truncated_hmac(self.keys.hmac, clear), found):
            raise IntegrityError(
                "the HMAC of a test packet is wrong", section="RFC 5357 section 4.2"
            )
        return clear + packet[protected:]
