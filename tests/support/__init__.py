"""What the tests stand on: local servers, a proxy that lies, child processes, retry."""
