"""The transitions of an item: every change of its state, each one conditional write.

Guaranteed: no other module has an expression that sets ItemState, lockID or Lease_Expires. Each
condition is here with its reason; `aws.table_writes` sends it.
"""

from dataclasses import dataclass

from anamo.core.item import State

HELD_BY_ME = "ItemState = :locked AND lockID = :mine"
"""The fence. Each claim has a lockID of its own, so a worker whose lease has ended and whose item
another worker took over fails this condition, however late its write arrives."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of state.

    Attributes:
        name: What messages call it.
        sources: The states it begins in; empty where there is no item yet.
        targets: The states it may lead to; empty where the item is deleted.
        rule: Who does what, in a sentence.
        condition: The write's condition expression.
        set: Clauses of the update's SET; empty for a put or a deletion.
        remove: Attributes that the update removes.
    """

    name: str
    sources: tuple[State, ...]
    targets: tuple[State, ...]
    rule: str
    condition: str
    set: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


_HOLD = (
    "ItemState = :locked",
    "lockID = :mine",
    "InstanceID = :instance",
    "Lock_Date = :now",
    "Lease_Expires = :expires",
    "Attempts = if_not_exists(Attempts, :zero) + :one",
    # An entry can be set only in a map that exists; other tools' items may have none
    "#Log = if_not_exists(#Log, :empty)",
)

_FREE = ("ItemState = :target", "lockID = :null", "InstanceID = :null")

IMPORT = Transition(
    "import",
    (),
    (State.TODO,),
    "An importer adds an item that the table does not have.",
    # Without it, a put would overwrite the state and results of an item imported before
    "attribute_not_exists(itemID)",
)

CLAIM = Transition(
    "claim",
    (State.TODO,),
    (State.LOCKED,),
    "A worker takes a todo item.",
    # The index that lists the item as todo lags behind, and two workers may read the same page
    "ItemState = :todo",
    _HOLD,
)

TAKE_OVER = Transition(
    "take over",
    (State.LOCKED,),
    (State.LOCKED,),
    "A worker takes a locked item whose lease has ended.",
    # Without the lockID, two workers that saw the same ended lease could both win: the new lease of
    # the first may have ended when the second one's write arrives
    "ItemState = :locked AND lockID = :seen AND Lease_Expires < :epoch",
    _HOLD,
)

RENEW = Transition(
    "renew",
    (State.LOCKED,),
    (State.LOCKED,),
    "The holder extends its lease.",
    HELD_BY_ME,
    ("Lease_Expires = :expires",),
)

RECORD = Transition(
    "record",
    (State.LOCKED,),
    (State.LOCKED,),
    "The holder writes the results of nested tasks that ended.",
    HELD_BY_ME,
    ("Lease_Expires = :expires",),
)

FINISH = Transition(
    "finish",
    (State.LOCKED,),
    (State.DONE, State.FAILED),
    "The holder ends the item with its last results.",
    HELD_BY_ME,
    ("ItemState = :target", "Done_Date = :now", "Failures = :failures"),
    ("Lease_Expires",),
)

RETRY = Transition(
    "retry",
    (State.LOCKED,),
    (State.TODO,),
    "The holder gives a failed item back to be tried again.",
    HELD_BY_ME,
    # Attempts counts claims that ended without an outcome, and this one has one
    (*_FREE, "Failures = :failures", "Attempts = Attempts - :one"),
    ("Lease_Expires",),
)

RELEASE = Transition(
    "release",
    (State.LOCKED,),
    (State.TODO,),
    "The holder gives the item back with the results it has.",
    HELD_BY_ME,
    (*_FREE, "Attempts = Attempts - :one"),
    ("Lease_Expires",),
)

AS_SEEN = (
    "ItemState = :seen AND (lockID = :lock OR attribute_not_exists(lockID))"
    " AND (Log_Length = :length OR attribute_not_exists(Log_Length))"
)
"""The item is as the operator saw it, perhaps minutes ago, before answering the question. The same
lockID is the same claim, so an item that has run again since does not match. A holder that records
a result changes neither state nor lockID, only Log_Length: without that, the statuses written back
would be the old ones, and a nested task that has ended would run again. Other tools' items may have
neither attribute."""

UNHELD = "(NOT attribute_type(Lease_Expires, :number) OR Lease_Expires < :epoch)"
"""No worker holds the item. One that was cut off may have come back and renewed its lease since the
operator looked."""

_AGAIN = (
    "ItemState = :todo",
    "lockID = :null",
    "InstanceID = :null",
    "Attempts = :zero",
    "Failures = :zero",
    "Log_Length = :ended",
)

REQUEUE = Transition(
    "requeue",
    (State.FAILED, State.DONE, State.LOCKED),
    (State.TODO,),
    "An operator makes an item that no worker holds todo again.",
    f"{AS_SEEN} AND {UNHELD}",
    _AGAIN,
    ("Lease_Expires",),
)

REQUEUE_HELD = Transition(
    "requeue --force",
    (State.LOCKED,),
    (State.TODO,),
    "An operator makes a held item todo again; its holder finds the claim lost.",
    AS_SEEN,
    _AGAIN,
    ("Lease_Expires",),
)

REMOVE = Transition(
    "remove",
    (State.TODO, State.LOCKED, State.DONE, State.FAILED),
    (),
    "An operator deletes an item that no worker holds; an importer with --replace, too.",
    f"{AS_SEEN} AND {UNHELD}",
)

REMOVE_HELD = Transition(
    "remove --force",
    (State.LOCKED,),
    (),
    "An operator deletes a held item; its holder finds the claim lost.",
    AS_SEEN,
)

TRANSITIONS = (
    IMPORT,
    CLAIM,
    TAKE_OVER,
    RENEW,
    RECORD,
    FINISH,
    RELEASE,
    RETRY,
    REQUEUE,
    REQUEUE_HELD,
    REMOVE,
    REMOVE_HELD,
)
"""All transitions."""
