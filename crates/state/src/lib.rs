//! Typed tables, migrations and transactions over the embedded database; the event log.
