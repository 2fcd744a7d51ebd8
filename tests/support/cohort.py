"""A cohort in the middle of its workflow, as an owner meets it: three steps, Align, Call (a nested
task for each chromosome) and QCheck, on a small fleet, with failures of several kinds.

Always the same for the same arguments, so that a picture of it can be made again.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from tests.support import workflow

STEPS = ("Align", "Call", "QCheck")
CHROMOSOMES = [f"chr{name}" for name in (*range(1, 23), "X", "Y")]
MISSING = (1, "exit 1", "[E::hts_open_format] Failed to open file {task}.bam: No such file")
CONTIG = (3, "exit 3", "ERROR: contig chrUn_KI270742v1 is not in the reference")
KILLED = (137, "killed by signal 9", "")
TIMEOUT = (143, "timeout", "[Mutect2] progress 71.3%")
UNFOUND = (127, "exit 127", "pyanamo: verifybamid2: not found")


@dataclass
class Cohort:
    """Makes the items of each step; one clock for each worker.

    Attributes:
        samples: How many samples.
        now: Epoch seconds at which the workflow is seen.
        nested: How many nested tasks an item of Call has.
        seed: Of whatever is drawn.
        bucket: The logs' bucket.
    """

    samples: int = 70
    now: float = 1_795_600_000.0
    nested: int = len(CHROMOSOMES)
    seed: int = 7
    bucket: str = "cohort-logs"
    hosts: list[str] = field(default_factory=list)
    free: list[float] = field(default_factory=list)
    draw: random.Random = field(default_factory=random.Random)

    def steps(self) -> dict[str, list[dict[str, Any]]]:
        """The items of each step, by its name."""
        self.draw.seed(self.seed)
        workers = max(6, self.samples // 12)
        # Two workers share the first host
        self.hosts = [
            f"i-0{random.Random(max(k - 1, 0)).getrandbits(64):016x}" for k in range(workers)
        ]
        hours = 9.4 * self.samples / 70 * 6 / workers
        self.free = [self.now - hours * 3600 + 240 * k / workers for k in range(workers)]
        return {"Align": self._align(), "Call": self._call(), "QCheck": self._qcheck()}

    def share(self, part: float) -> int:
        """The number of the sample that is so far in the cohort."""
        return max(1, round(part * self.samples))

    def _align(self) -> list[dict[str, Any]]:
        made = []
        for number in range(1, self.samples + 1):
            one = self._item(
                "Align", number, f"bash align.sh S{number}_R1.fq.gz S{number}_R2.fq.gz"
            )
            cause = {
                self.share(0.17): MISSING,
                self.share(0.18): MISSING,
                self.share(0.62): UNFOUND,
            }.get(number)
            self._end("Align", one, {"": (self._seconds(1500), 30_500.0, cause)})
            made.append(one)
        return made

    def _call(self) -> list[dict[str, Any]]:
        made = []
        for number in range(1, self.samples + 1):
            one = self._item("Call", number, None)
            if number <= self.share(0.84) and number not in self._behind():
                causes = {}
                if number in {self.share(0.3), self.share(0.45), self.share(0.46)}:
                    causes = {"Task_0": KILLED, "Task_3": KILLED}
                if number == self.share(0.7):
                    causes = {"Task_8": CONTIG, "Task_9": CONTIG, "Task_10": TIMEOUT}
                self._end("Call", one, self._nested(causes))
            elif number <= self.share(0.9) and number not in self._behind():
                # Of the last of them the worker has died
                self._lock("Call", one, lost=number == self.share(0.9))
            elif number == self.share(0.93):
                one |= {"Attempts": 1, "Failures": 1, "lockID": self._token()}
                one["Lock_Date"], one["InstanceID"] = workflow.stamp(self.now - 900), self.hosts[2]
            elif number in {self.share(0.98), self.share(1)}:
                one["ItemState"] = "held"
            made.append(one)
        return made

    def _behind(self) -> set[int]:
        """Samples that failed in Align."""
        return {self.share(0.17), self.share(0.18), self.share(0.62)}

    def _qcheck(self) -> list[dict[str, Any]]:
        made = []
        for number in range(1, self.samples + 1):
            if number in self._behind() and number > 1:
                continue
            one = self._item("QCheck", number, f"bash qcheck.sh Sample{number}")
            if number <= self.share(0.7):
                seconds, memory = self._seconds(140), 2_100.0
                self._end("QCheck", one, {"": (seconds, memory, None)})
            made.append(one)
        return made

    def _item(self, table: str, number: int, script: str | None) -> dict[str, Any]:
        task = f"Sample{number}"
        made = workflow.item(task, "todo", 0 if script else self.nested)
        made["itemID"] = random.Random(f"{table} {task}").getrandbits(53)
        if script:
            made["TaskScript"] = script
        else:
            for k, each in enumerate(made["TaskScript"].values()):
                each["Script"] = f"bash call.sh {task} {CHROMOSOMES[k % 24]}"
        return made

    def _seconds(self, median: float) -> float:
        return round(median * self.draw.lognormvariate(0, 0.25), 1)

    def _nested(self, causes: dict[str, Any]) -> dict[str, tuple[float, float, Any]]:
        return {
            f"Task_{k}": (
                self._seconds(460 * (1 - 0.033 * (k % 24))),
                round(9_000 * self.draw.lognormvariate(0, 0.2), 1),
                causes.get(f"Task_{k}"),
            )
            for k in range(self.nested)
        }

    def _token(self) -> str:
        return f"{self.draw.getrandbits(128):032x}"

    def _end(
        self, table: str, made: dict[str, Any], tasks: dict[str, tuple[float, float, Any]]
    ) -> None:
        """Let an item end on the worker that is free first, nested tasks eight at a time."""
        slot = min(range(len(self.free)), key=self.free.__getitem__)
        made["lockID"], made["InstanceID"] = self._token(), self.hosts[slot]
        failed = any(cause for _, _, cause in tasks.values())
        entries = {name: self._entry(table, made, name, *task) for name, task in tasks.items()}
        for name, (_, _, cause) in tasks.items():
            if name:
                made["TaskScript"][name]["Status"] = "failed" if cause else "done"
        took = sum(seconds for seconds, _, _ in tasks.values()) / (8 if len(tasks) > 1 else 1)
        began, self.free[slot] = self.free[slot], self.free[slot] + took
        made |= {
            "ItemState": "failed" if failed else "done",
            "Log": entries.get("", entries),
            "Log_Length": len(tasks),
            "Lock_Date": workflow.stamp(began),
            "Done_Date": workflow.stamp(began + took),
            "Attempts": 2 if failed and self.draw.random() < 0.5 else 1,
        }

    def _lock(self, table: str, made: dict[str, Any], *, lost: bool) -> None:
        """Let a worker hold an item of which half of the nested tasks have ended."""
        slot = min(range(len(self.free)), key=self.free.__getitem__)
        made["lockID"], made["InstanceID"] = self._token(), self.hosts[slot]
        tasks = dict(list(self._nested({}).items())[: self.nested // 2])
        made["Log"] = {name: self._entry(table, made, name, *task) for name, task in tasks.items()}
        for name in tasks:
            made["TaskScript"][name]["Status"] = "done"
        began = min(self.free[slot], self.now - 600)
        self.free[slot] = self.now
        made |= {
            "ItemState": "locked",
            "Attempts": 1,
            "Log_Length": len(tasks),
            "Lock_Date": workflow.stamp(began),
            "Lease_Expires": int(self.now) + (-3600 if lost else 400),
        }

    def _entry(
        self,
        table: str,
        made: dict[str, Any],
        name: str,
        seconds: float,
        memory: float,
        cause: tuple[int, str, str] | None,
    ) -> dict[str, Any]:
        task, suffix = made["taskID"], f"-{name}" if name else ""
        key = f"PyAnamo/{table}/{task}/{made['itemID']}-{made['lockID']}{suffix}.log.gz"
        code, status, last = cause or (0, "", "")
        said = [f"[M::main] {table} of {task} {k}" for k in range(3)]
        more: dict[str, Any] = {"Tags": [f"reads={self.draw.randrange(10**8)}"]} if not name else {}
        made_entry: dict[str, Any] = workflow.entry(
            task,
            code,
            f"Execution Failed: {status}" if status else "",
            Seconds=seconds,
            Max_RSS_MB=memory,
            S3=f"s3://{self.bucket}/{key}",
            S3_Range="0-2047",
            stderr="\n".join([*said, last.format(task=task)]) + "\n",
            **more,
        )
        return made_entry
