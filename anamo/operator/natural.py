"""The order people expect of names with numbers in them."""

import re


def natural(name: str) -> tuple[object, ...]:
    """Sort key by which Sample9 comes before Sample10."""
    parts = re.split("([0-9]+)", name)
    return tuple(int(part) if odd % 2 else part for odd, part in enumerate(parts))
