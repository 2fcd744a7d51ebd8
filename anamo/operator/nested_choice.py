"""Which nested tasks of an item a change is about: those that failed, all, or one by its name."""

from collections.abc import Collection
from dataclasses import dataclass

from anamo.aws.update import STATUS_LIMIT
from anamo.core.item import NestedTask, State
from anamo.core.record import ENDED, Record

FAILED_ONES, ALL = "failed", "all"
"""What may stand in place of a nested task's name."""


@dataclass(frozen=True, slots=True)
class NestedChoice:
    """What --nested says.

    Attributes:
        word: FAILED_ONES, ALL, or the name or argument of a nested task.
    """

    word: str = FAILED_ONES

    @property
    def is_one(self) -> bool:
        """Whether one nested task is meant, by its name."""
        return self.word not in (FAILED_ONES, ALL)

    def requeued(self, record: Record) -> list[NestedTask]:
        """The nested tasks with the statuses that a requeue gives them."""
        if self.is_one:
            return requeued_tasks(record, only=record.tasks_named(self.word))
        # A done item has no others than done ones
        return requeued_tasks(record, self.word == ALL or record.state == State.DONE)

    def tasks_to_run(self, record: Record) -> int:
        """How many tasks of the item are todo after a requeue."""
        nested = self.requeued(record)
        return sum(task.status == State.TODO for task in nested) if nested else record.tasks

    def cannot_be_removed(self, record: Record) -> str:
        """Why the nested task cannot be taken out of the item; "" where it can."""
        names = record.tasks_named(self.word)
        kept = [task for task in record.item.nested if task.name not in names]
        for task in record.item.nested:
            if task.name in names and task.status != State.FAILED:
                title = record.task_title(task.name)
                return f"has {task.status} {title}: only nested tasks that failed can be removed"
        if not kept:
            return f"has nothing but {self.word}: remove the item, without --nested"
        # Of more, a requeue in parts may be under way, which Log_Length does not show
        if len(record.item.nested) > STATUS_LIMIT:
            return (
                f"has more than {STATUS_LIMIT} nested tasks: correct its line and import it with "
                "--replace instead"
            )
        return ""


def requeued_tasks(
    record: Record, all_tasks: bool = False, only: Collection[str] = ()
) -> list[NestedTask]:
    """The nested tasks as they are after a requeue: those that are not done run again.

    Args:
        record: The item.
        all_tasks: All run again.
        only: The names of those that run again, beside what is todo already; empty for the rule.
    """

    def again(task: NestedTask) -> bool:
        if only:
            return task.name in only or task.status not in ENDED
        return all_tasks or task.status != State.DONE

    return [
        NestedTask(task.name, task.script, State.TODO.value if again(task) else task.status)
        for task in record.item.nested
    ]
