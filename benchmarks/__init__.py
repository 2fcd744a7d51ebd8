"""What a task costs beyond itself, measured beside floors and peers. Started by `run.sh`."""
