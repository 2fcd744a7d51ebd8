"""What DynamoDB and S3 bill."""

from dataclasses import dataclass

MILLION = 1_000_000

WRITE_PRICE = 0.625
"""USD for a million write units on demand in us-east-1, since November 2024."""

READ_SHARE = 1 / 5
"""What a read unit costs of a write unit, in every region."""

PUT_PRICE = 5.0
"""USD for a million PUT requests to S3 Standard in us-east-1."""


@dataclass(frozen=True, slots=True)
class Price:
    """Prices in USD.

    Attributes:
        writes: Of a million write units; a read unit costs a fifth of one.
    """

    writes: float = WRITE_PRICE

    def of(self, write_units: float, read_units: float, puts: float) -> float:
        """What so many units and requests cost."""
        units = write_units + READ_SHARE * read_units
        return (self.writes * units + PUT_PRICE * puts) / MILLION
