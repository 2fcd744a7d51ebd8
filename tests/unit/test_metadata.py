"""The Spot notice: who is asked, and how often."""

from __future__ import annotations

import pytest

from anamo.aws.metadata import InstanceMetadata, SpotNotice


@pytest.mark.parametrize(
    ("answers", "asked"), [([False, False], 1), ([True, False, False, True], 4)]
)
def test_only_a_service_that_never_answered_is_given_up(
    answers: list[bool], asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = iter(answers)

    def get(self: InstanceMetadata, path: str) -> str | None:
        self.reachable = next(left)
        return path if self.reachable else None

    monkeypatch.setattr(InstanceMetadata, "get", get)
    notice = SpotNotice()
    for _ in answers:
        notice()
    assert len(answers) - len(list(left)) == asked
