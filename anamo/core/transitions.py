"""The transitions of an item: every change of its state, each one conditional write.

Guaranteed: no other module has an expression that sets ItemState, lockID or Lease_Expires. Each
condition is here with its reason; `aws.table_writes` and `aws.operator_writes` send it.
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


_CLAIM_SET = (
    "ItemState = :locked",
    "lockID = :mine",
    "InstanceID = :instance",
    "Lock_Date = :now",
    "Lease_Expires = :expires",
    "Attempts = if_not_exists(Attempts, :zero) + :one",
    # An entry can be set only in a map that exists; other tools' items may have none
    "#Log = if_not_exists(#Log, :empty)",
)

# LoggingIndex lists what has ended. Earlier versions wrote a length into items that are todo, too
_NO_LENGTH = ("Log_Length",)

_ENDED = ("Lease_Expires", "Host_Error", "Host_Errors")

# The lockID stays, see CLAIM
_FREE = ("ItemState = :target",)

# Without a holder, InstanceStateIndex does not list it
_NO_HOLDER = ("Lease_Expires", "InstanceID")

IMPORT = Transition(
    "import",
    (),
    (State.TODO, State.HELD),
    "An importer adds an item that the table does not have; with --hold as held.",
    # Without it, a put would overwrite the state and results of an item imported before
    "attribute_not_exists(itemID)",
)

CLAIM = Transition(
    "claim",
    (State.TODO,),
    (State.LOCKED,),
    "A worker takes a todo item.",
    # The index that lists the item as todo lags behind, and two workers may read the same page.
    # Imports and claims set the lockID, to a value of their own, and each claim names the one that
    # it follows: so it never returns to an earlier value, and a copy of a claim that arrives after
    # the item was given back cannot bring that claim back to life. For the same reason a claim that
    # failed is retried under a new lockID only. Other tools' items may have no lockID, or
    # none that is text
    "ItemState = :todo AND (lockID = :seen OR NOT attribute_type(lockID, :string))",
    _CLAIM_SET,
    _NO_LENGTH,
)

TAKE_OVER = Transition(
    "take over",
    (State.LOCKED,),
    (State.LOCKED,),
    "A worker takes a locked item whose lease has ended.",
    # Without the lockID, two workers that saw the same ended lease could both win: the new lease of
    # the first may have ended when the second one's write arrives
    "ItemState = :locked AND lockID = :seen AND Lease_Expires < :epoch",
    _CLAIM_SET,
    _NO_LENGTH,
)

TAKE_OVER_EARLIER = Transition(
    "take over from an earlier attempt",
    (State.LOCKED,),
    (State.LOCKED,),
    "An attempt of an AWS Batch job takes an item that an earlier attempt of the same job holds.",
    # AWS Batch runs one attempt of a job at a time, so the earlier one is dead and its lease need
    # not be waited for. The job id tells that it is the same job, the lockID that it is the claim
    # that was seen, and not one of this attempt's other processes
    "ItemState = :locked AND lockID = :seen AND InstanceID = :instance",
    _CLAIM_SET,
    _NO_LENGTH,
)

RENEW = Transition(
    "renew",
    (State.LOCKED,),
    (State.LOCKED,),
    "The holder extends its lease.",
    # A renewal that arrives after a later one would shorten the lease of a live worker. A later one
    # within the same second sets the same time, and may bring the address of the output so far
    f"{HELD_BY_ME} AND NOT Lease_Expires > :expires",
    # With the address of the output so far, where there is one
    ("Lease_Expires = :expires",),
)

RECORD = Transition(
    "record",
    (State.LOCKED,),
    (State.LOCKED,),
    "The holder writes the results of nested tasks that ended.",
    # A record that arrives after a later one would set Ended_Tasks back. No other write has its
    # tasks, and all of them have ended or none, so the first speaks for all. Ended_Tasks itself
    # would not do: earlier versions leave it as it is. A record does not renew the lease, or it
    # would have to fail where a renewal overtook it. No narrow index holds what it changes:
    # it costs units of the table only, and none of the index partition that all locked items share
    f"{HELD_BY_ME} AND NOT #TaskScript.#t0.#Status IN (:done, :failed)",
)

FINISH = Transition(
    "finish",
    (State.LOCKED,),
    (State.DONE, State.FAILED),
    "The holder ends the item with its last results.",
    HELD_BY_ME,
    ("ItemState = :target", "Done_Date = :now"),
    # Log_So_Far only here, since the next claim has to know what an earlier one has left in S3
    (*_ENDED, "Log_So_Far"),
)

RETRY = Transition(
    "retry",
    (State.LOCKED,),
    (State.TODO,),
    "The holder gives a failed item back to be retried.",
    HELD_BY_ME,
    # Attempts counts claims that ended without an outcome, and this one has one
    (*_FREE, "Failures = :failures", "Attempts = Attempts - :one"),
    _NO_HOLDER,
)

RETRY_PART = Transition(
    "retry in part",
    (State.LOCKED,),
    (State.LOCKED,),
    "The holder sets failed nested tasks to todo: more than fit in one write with the retry.",
    # Its tasks have ended, so nothing runs before the retry; if it dies in between, whoever takes
    # the item over runs these tasks
    HELD_BY_ME,
)

RELEASE = Transition(
    "release",
    (State.LOCKED,),
    (State.TODO,),
    "The holder gives the item back with the results it has.",
    HELD_BY_ME,
    (*_FREE, "Attempts = Attempts - :one"),
    _NO_HOLDER,
)

GIVE_BACK = Transition(
    "give back",
    (State.LOCKED,),
    (State.TODO,),
    "The holder gives the item back after a host error, such as a full disk.",
    HELD_BY_ME,
    # Attempts stays as the claim raised it: an item that fills every disk must fail in the end
    (*_FREE, "Host_Error = :why", "Host_Errors = if_not_exists(Host_Errors, :zero) + :one"),
    _NO_HOLDER,
)

AS_SEEN = (
    "ItemState = :seen AND (lockID = :lock OR attribute_not_exists(lockID))"
    " AND (Ended_Tasks = :ended OR attribute_not_exists(Ended_Tasks))"
    " AND (Log_Length = :length OR attribute_not_exists(Log_Length))"
)
"""The item is as the operator saw it, perhaps minutes ago, before confirming. The same
lockID is the same claim, so an item that has run again since does not match. A holder that records
a result changes neither state nor lockID, only Ended_Tasks, or Log_Length if it is of an earlier
version: unless these are compared, the old count would be written back, and a task that has failed
since would not run again. Items may have none of these attributes; a record adds one, and no holder
takes it away."""

NO_LIVE_LEASE = "(NOT attribute_type(Lease_Expires, :number) OR Lease_Expires < :epoch)"
"""No worker holds the item. One that was cut off may have come back and renewed its lease since the
operator looked."""

_AGAIN = ("ItemState = :todo",)

_AS_NEW = (
    *_ENDED,
    "InstanceID",
    "Done_Date",
    "Attempts",
    "Failures",
    "Log_Length",
    "Failed_Tasks",
)

REQUEUE = Transition(
    "requeue",
    (State.FAILED, State.DONE, State.LOCKED),
    (State.TODO,),
    "An operator makes an item that no worker holds todo again.",
    f"{AS_SEEN} AND {NO_LIVE_LEASE}",
    _AGAIN,
    _AS_NEW,
)

REQUEUE_LOCKED = Transition(
    "requeue --force",
    (State.LOCKED,),
    (State.TODO,),
    "An operator makes an item that a worker holds todo again; the worker finds its claim lost.",
    AS_SEEN,
    _AGAIN,
    _AS_NEW,
)

_IN_PART = ("ItemState = :failed", "lockID = :token")

# The index shows how many tasks of a failed item have failed, which is about to change
_NOT_COUNTED = ("Lease_Expires", "Failed_Tasks")

REQUEUE_PART = Transition(
    "requeue in part",
    (State.FAILED, State.DONE, State.LOCKED),
    (State.FAILED,),
    "An operator sets nested tasks to todo: more than fit in one write with the requeue.",
    # No worker runs an item that is failed, and requeueing it finds the tasks that are left. If it
    # stayed locked, it could be taken over, or its holder could continue
    f"{AS_SEEN} AND {NO_LIVE_LEASE}",
    _IN_PART,
    _NOT_COUNTED,
)

REQUEUE_LOCKED_PART = Transition(
    "requeue in part --force",
    (State.LOCKED,),
    (State.FAILED,),
    "An operator does so with an item that a worker holds; the worker finds its claim lost.",
    AS_SEEN,
    _IN_PART,
    _NOT_COUNTED,
)

HOLD = Transition(
    "hold",
    (State.TODO,),
    (State.HELD,),
    "An operator keeps a todo item from being claimed.",
    # A worker may have claimed it since; then it is the worker's
    AS_SEEN,
    ("ItemState = :target",),
)

RESUME = Transition(
    "resume",
    (State.HELD,),
    (State.TODO,),
    "An operator lets a held item be claimed again.",
    # Another operator may have resumed it, and a worker may have run it, since
    AS_SEEN,
    ("ItemState = :target",),
)

REMOVE = Transition(
    "remove",
    (State.TODO, State.HELD, State.LOCKED, State.DONE, State.FAILED),
    (),
    "An operator deletes an item that no worker holds; an importer with --replace, too.",
    f"{AS_SEEN} AND {NO_LIVE_LEASE}",
)

REMOVE_PART = Transition(
    "remove in part",
    (State.FAILED,),
    (State.FAILED, State.DONE),
    "An operator takes failed nested tasks out of an item; it is done if all others are.",
    # Log_Length counts what has ended, so each removal changes it: of two operators' removals only
    # the first finds it as seen, and a copy that arrives late changes nothing. No worker holds a
    # failed item
    AS_SEEN,
    ("ItemState = :target", "Nested_Tasks = :left", "Log_Length = :left_ended"),
)

REMOVE_LOCKED = Transition(
    "remove --force",
    (State.LOCKED,),
    (),
    "An operator deletes an item that a worker holds; the worker finds its claim lost.",
    AS_SEEN,
)

TRANSITIONS = (
    IMPORT,
    CLAIM,
    TAKE_OVER,
    TAKE_OVER_EARLIER,
    RENEW,
    RECORD,
    FINISH,
    RELEASE,
    GIVE_BACK,
    RETRY,
    RETRY_PART,
    REQUEUE,
    REQUEUE_LOCKED,
    REQUEUE_PART,
    REQUEUE_LOCKED_PART,
    HOLD,
    RESUME,
    REMOVE,
    REMOVE_PART,
    REMOVE_LOCKED,
)
"""All transitions."""
