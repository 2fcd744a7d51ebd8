"""Peers: what else runs many small tasks on one machine and keeps account of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.measure import Contender, Failed, Sample


class Peers:
    """The peers that are here; `missing` says which are not, and why."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._debian = bench.prepared / "debian"
        self.missing: list[str] = []

    def contenders(self, tasks: int) -> Iterator[Contender]:
        """All of them, for that many `true`."""
        yield from self._parallel(tasks)
        yield from self._hypershell(tasks)

    def joblog(self, tasks: int) -> Iterator[Contender]:
        """GNU parallel with a job log, if it is here."""
        yield from [each for each in self._parallel(tasks) if each.name.endswith("--joblog")]

    def _parallel(self, tasks: int) -> Iterator[Contender]:
        unpacked = self._debian / "usr" / "bin" / "parallel"
        program = shutil.which("parallel") or (str(unpacked) if unpacked.exists() else None)
        if not program:
            self.missing.append("GNU parallel: it is in Debian's package parallel")
            return
        call = f"seq {tasks} | {program} --will-cite -j2"
        yield self._shell("GNU parallel --joblog", tasks, f"{call} --joblog log true")
        yield self._shell("GNU parallel --results", tasks, f"{call} --results out true >all")
        database = "sqlite3:///$(pwd | sed s,/,%2F,g)%2Fdatabase/jobs"
        call = f"seq {tasks} | {program} --will-cite -j2 --sqlandworker {database} true"
        if self._works(f"seq 2 | {program} --will-cite -j2 --sqlandworker {database} true"):
            yield self._shell("GNU parallel --sqlandworker, SQLite", tasks, call)

    def _works(self, command: str) -> bool:
        try:
            self._run(command)
        except Failed as failure:
            self.missing.append(f"GNU parallel on SQLite: {str(failure)[-200:]}")
            return False
        return True

    def _hypershell(self, tasks: int) -> Iterator[Contender]:
        program = self._bench.prepared / "hypershell" / "bin" / "hs"
        if not program.exists():
            self.missing.append("HyperShell: the package hypershell could not be installed")
            return
        command = f"seq {tasks} | sed s/.*/true/ >tasks; {program} cluster tasks -N2"
        yield self._shell("HyperShell hs cluster -N2", tasks, command)

    def _shell(self, name: str, tasks: int, command: str) -> Contender:
        return Contender(name, tasks, lambda: self._run(command))

    def _run(self, command: str) -> Sample:
        # So that a pipe's first failure is not hidden; each run has a folder of its own
        script = f"set -eo pipefail; export HYPERSHELL_SITE=$PWD/site; {command}"
        return self._bench.run("bash", "-c", script, PERL5LIB=self._perl_path())

    def _perl_path(self) -> str:
        """Where Perl finds the modules that were unpacked."""
        roots = [self._debian / "usr" / "lib", self._debian / "usr" / "share"]
        modules: list[Path] = []
        for root in roots:
            modules += [path for path in root.glob("**/perl5*") if path.is_dir()]
            modules += [path for path in root.glob("**/perl5/5.*") if path.is_dir()]
        return os.pathsep.join(map(str, modules))
