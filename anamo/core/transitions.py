"""The transitions of an item: every change of state there is, each one conditional write.

Guaranteed: no other module writes an expression that sets ItemState, lockID or Lease_Expires.
Each condition stands here with its reason; `table` sends them.
"""

from dataclasses import dataclass

from anamo.core.item import State

HELD_BY_ME = "ItemState = :locked AND lockID = :mine"
"""The fence. lockID is minted per claim, so a worker whose lease ran out and whose item another
worker took over fails this condition, however late its write arrives."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of state.

    sources: the states before, none where there is no item. targets: the states it may lead to,
    none where the item goes. rule: from where to where and who may, in a sentence. set, remove: the
    update's clauses; none for a put or a deletion.
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
    # An entry can only be set inside a map that is there; other tools' items may have none
    "#Log = if_not_exists(#Log, :empty)",
)

_FREE = ("ItemState = :target", "lockID = :null", "InstanceID = :null")

IMPORT = Transition(
    "import",
    (),
    (State.TODO,),
    "An importer adds an item that is not there.",
    # A put without it would wipe out the state and results of an item imported before
    "attribute_not_exists(itemID)",
)

CLAIM = Transition(
    "claim",
    (State.TODO,),
    (State.LOCKED,),
    "Any worker takes an item that nobody holds.",
    # The index the worker found the item in lags behind; two workers may see the same todo item
    "ItemState = :todo",
    _HOLD,
)

TAKE_OVER = Transition(
    "take over",
    (State.LOCKED,),
    (State.LOCKED,),
    "Any worker takes an item whose lease has ended.",
    # Without the lockID two workers that saw the same ended lease would both win: the first one's
    # new lease may already have ended again when the second one's write arrives
    "ItemState = :locked AND lockID = :seen AND Lease_Expires < :epoch",
    _HOLD,
)

RENEW = Transition(
    "renew",
    (State.LOCKED,),
    (State.LOCKED,),
    "The holder makes its lease last longer.",
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
    # The claim ended with an outcome, so it is not one of those that count as attempts
    (*_FREE, "Failures = :failures", "Attempts = Attempts - :one"),
    ("Lease_Expires",),
)

RELEASE = Transition(
    "release",
    (State.LOCKED,),
    (State.TODO,),
    "The holder gives the item back with its progress.",
    HELD_BY_ME,
    (*_FREE, "Attempts = Attempts - :one"),
    ("Lease_Expires",),
)

AS_SEEN = (
    "ItemState = :seen AND (lockID = :lock OR attribute_not_exists(lockID))"
    " AND (Log_Length = :length OR attribute_not_exists(Log_Length))"
)
"""What an operator saw before the question was answered, perhaps minutes ago. The same lockID is
the same claim, so an item that ran again in between does not match. A holder that records a result
changes neither state nor lockID, but Log_Length: without it the statuses written back would be
those from before, and a nested task that has ended would run again. Other tools' items may have
neither attribute."""

UNHELD = "(NOT attribute_type(Lease_Expires, :number) OR Lease_Expires < :epoch)"
"""Nobody works on the item. A worker that was cut off may have come back and renewed its lease
since the operator looked."""

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
    "The operator has an item run again that nobody holds.",
    f"{AS_SEEN} AND {UNHELD}",
    _AGAIN,
    ("Lease_Expires",),
)

REQUEUE_HELD = Transition(
    "requeue --force",
    (State.LOCKED,),
    (State.TODO,),
    "The operator takes an item from its holder, who finds the claim lost.",
    AS_SEEN,
    _AGAIN,
    ("Lease_Expires",),
)

REMOVE = Transition(
    "remove",
    (State.TODO, State.LOCKED, State.DONE, State.FAILED),
    (),
    "The operator deletes an item that nobody holds.",
    f"{AS_SEEN} AND {UNHELD}",
)

REMOVE_HELD = Transition(
    "remove --force",
    (State.LOCKED,),
    (),
    "The operator deletes an item, whose holder finds the claim lost.",
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
"""Every one of them."""
