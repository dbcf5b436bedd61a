"""Units of time, and numbers as text."""

from twamp.config.readers import UNITS as CONFIG_UNITS
from twamp.report.units import UNITS


def test_every_unit_of_the_options_is_known() -> None:
    assert tuple(UNITS) == CONFIG_UNITS
    assert UNITS["m"].text(1_234_567) == "1.23"
    assert UNITS["s"].text(1_500_000_000) == "1.5"
