//! The token of a command's own login by AppRole. It is given back when the command ends: in a timer each run would leave one behind, to
//! live for as long as the role says.

use crate::session::{self, Credentials};
use keyward_vault::Client;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Vault answers within this time, or the token ends by itself.
const LIMIT: Duration = Duration::from_secs(2);

// A process has one command.
static LOGIN: Mutex<Option<Client>> = Mutex::new(None);

/// Notes a login. A token that somebody has is theirs, and stays.
pub fn note(client: &Client, credentials: &Credentials) {
    if credentials.makes_a_token() {
        *LOGIN.lock().unwrap_or_else(PoisonError::into_inner) = Some(client.clone());
    }
}

/// Lets the token live, because what the command makes ends with it.
pub fn keep() {
    *LOGIN.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

/// Gives it back. Where that fails it ends by itself.
pub async fn give_back() {
    let login = LOGIN.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(client) = login {
        let _ = tokio::time::timeout(LIMIT, session::give_back(&client)).await;
    }
}
