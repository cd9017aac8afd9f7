//! The parts of the Keyward binary.
