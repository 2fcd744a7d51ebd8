"""What a task costs beyond itself, compared with floors and peers. Started by `run.sh`."""
