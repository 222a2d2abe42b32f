"""A PostgreSQL of the proof's own, which is killed, stopped and put back while ledgers use it."""
