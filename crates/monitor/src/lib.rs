//! Supervises one container: life cycle, logs, attach, exec; plus its client.
