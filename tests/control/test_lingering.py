"""Sessions that linger: found by group, the oldest first, and none forgotten."""

from twamp.control.lingering import Lingering

Pair = tuple[str, int]


def pairs(*members: Pair) -> Lingering[Pair]:
    lingering: Lingering[Pair] = Lingering(lambda pair: (pair[0], pair[1]))
    for member in members:
        lingering.add(member)
    return lingering


def test_the_oldest_is_that_of_the_group_or_of_all() -> None:
    lingering = pairs(("b", 1), ("a", 1), ("a", 2))
    assert lingering.oldest() == ("b", 1)
    assert lingering.oldest("a") == ("a", 1)
    assert lingering.oldest(2) == ("a", 2)
    assert (lingering.count("a"), lingering.count("c"), len(lingering)) == (2, 0, 3)


def test_what_is_discarded_is_in_no_group() -> None:
    lingering = pairs(("a", 1), ("a", 2))
    for _ in range(2):
        lingering.discard(("a", 1))
        assert lingering.oldest("a") == ("a", 2)
        assert lingering.oldest(1) is None
    lingering.discard(("a", 2))
    assert lingering.oldest() is None
    assert (list(lingering), lingering.count("a")) == ([], 0)


def test_it_may_change_while_it_is_walked() -> None:
    lingering = pairs(("a", 1), ("a", 2))
    for member in lingering:
        lingering.discard(member)
    assert len(lingering) == 0
