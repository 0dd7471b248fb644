//! Fixtures and fault injection for tests.
