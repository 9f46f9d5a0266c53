//! Fixtures and harnesses of real services for tests.
