"""Damages octets a little, as a fuzzer does; the same seed gives the same damage."""

from random import Random

INTERESTING = (0, 1, 3, 5, 7, 9, 16, 32, 127, 128, 255)


def mutate(random: Random, octets: bytes, others: list[bytes]) -> bytes:
    """One to four changes; ``others`` are there to be spliced with."""
    changed = bytearray(octets)
    for _ in range(random.randint(1, 4)):
        at = random.randint(0, len(changed))
        match random.randrange(7):
            case 0 if at < len(changed):
                changed[at] ^= 1 << random.randrange(8)
            case 1 if at < len(changed):
                changed[at] = random.choice(INTERESTING)
            case 2:
                del changed[at:]
            case 3:
                changed += random.randbytes(random.choice((1, 15, 16, 17, 64)))
            case 4:
                del changed[at : at + random.choice((1, 4, 16))]
            case 5:
                changed[at : at + 4] = random.choice((0, 1, 2, 2**31, 2**32 - 1)).to_bytes(4)
            case 6:
                other = random.choice(others)
                changed[at:] = other[random.randint(0, len(other)) :]
    return bytes(changed)
