"""How much memory this machine has, and how much of it is free."""

from pathlib import Path


def memory_bytes() -> tuple[int, int]:
    """Available and total memory of this machine; where that cannot be read, plenty."""
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return 1, 1
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    available, total = (int(fields[name].split()[0]) * 1024 for name in ("MemAvailable", "MemTotal"))
    return available, total
