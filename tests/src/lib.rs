//! Tests of the whole against real servers stand in `tests/`; what they share stands in `keyward-harness`.
