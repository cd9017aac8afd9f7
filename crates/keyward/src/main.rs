//! Keyward: keeps the secrets in Vault fresh and watches who uses them.

fn main() {}
