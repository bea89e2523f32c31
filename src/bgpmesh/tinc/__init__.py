"""tinc: who dials whom, its files, its keys, and the daemon."""
