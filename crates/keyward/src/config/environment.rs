//! The process's environment as a value, so that what it does to a configuration can be tested. It never reads the process's own in secret:
//! [`Environment::of_process`] is called once, at the edge.

use std::collections::BTreeMap;
use std::fmt;

/// Variables, and what the command line says about the server.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    /// `--address`: decides where a variable contradicts the file.
    pub address: Option<String>,
}

impl Environment {
    /// No variables, no command line.
    pub fn empty() -> Self {
        Self::default()
    }

    /// These variables.
    pub fn new<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self { variables: variables.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(), address: None }
    }

    /// The process's own variables; those that are not UTF-8 are left out.
    pub fn of_process() -> Self {
        let variables = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        Self { variables: variables.collect(), address: None }
    }

    /// The same with the command line's `--address`.
    pub fn with_address(self, address: Option<String>) -> Self {
        Self { address, ..self }
    }

    /// A variable. One that is empty counts as not set, as with Vault's own tools.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|v| !v.is_empty())
    }
}

impl fmt::Debug for Environment {
    /// Names only: a value may be a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("variables", &self.variables.keys()).field("address", &self.address).finish()
    }
}
