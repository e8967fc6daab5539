import pytest

from uflow import options
from uflow.options import Range, option


@options.section
class Interval:
    low: float = option(1.0, Range(0.0, 10.0), help="lower end")
    high: float = option(2.0, Range(0.0, 10.0), help="upper end")
    step: float = option(0.5, Range(0.0, 10.0), help="step")

    def conflicts(self) -> list[str]:
        found = [f"low {self.low} exceeds high {self.high}"] if self.low > self.high else []
        return found + ([f"step {self.step} exceeds high {self.high}"] if self.step > self.high else [])


def test_options_that_go_together_are_accepted():
    assert Interval(low=2.0, high=2.0).high == 2.0


def test_every_conflict_is_reported_at_once():
    with pytest.raises(ValueError, match="invalid options of Interval") as caught:
        Interval(low=3.0, high=2.0, step=9.0)
    assert "low 3.0 exceeds high 2.0" in str(caught.value) and "step 9.0 exceeds high 2.0" in str(caught.value)


def test_conflicts_are_not_asked_of_values_that_cannot_be_compared():
    with pytest.raises(ValueError, match="low must be a number"):
        Interval(low="wide", high=2.0)
