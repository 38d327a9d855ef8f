//! For the tests.
