"""What becomes of a claim whose tasks cannot even be killed."""

from __future__ import annotations

from unittest.mock import Mock

import pytest

from anamo.core.item import Item
from anamo.worker.claim import Claim
from anamo.worker.item_run import ItemRun
from anamo.worker.output_files import NONE_KEPT


def test_the_recorder_learns_that_no_result_will_come_although_the_kill_fails_too() -> None:
    claim = Claim(Item(7, "Task", "true", state="locked", lock_id="mine"), 0, Mock())
    stuck = Mock()
    stuck.poll.side_effect = OSError("no more processes")
    claim.running["Task"] = stuck
    control = Mock(stopping=False, start_no_more=False)
    recorder = Mock(error=None, has_room=False)
    with pytest.raises(OSError, match="no more processes"):
        ItemRun(claim, Mock(nested=1, grace=0), control, recorder, {}, NONE_KEPT).run()
    stuck.stop.assert_called()
    recorder.end.assert_called_once_with(claim)
