//! The kinds of secrets, one file each. A new kind is a table in `keyward-rotation` and a file here.

mod issued;
mod jwt_hmac;
mod jwt_keypair;
mod jwt_keys;
mod manual;
mod postgres_password;
mod postgres_two_users;
mod random;
mod redis_password;
mod transit_key;
mod vault_dynamic_lease;
mod vault_root;
mod vault_static_role;

pub use issued::{FromIssuer, ID};
pub use jwt_hmac::JwtHmac;
pub use jwt_keypair::JwtKeypair;
pub use jwt_keys::JwtFields;
pub use manual::Manual;
pub use postgres_password::PostgresPassword;
pub use postgres_two_users::{Laggards, PostgresTwoUsers, Readers, RetireWhen};
pub use random::Random;
pub use redis_password::RedisPassword;
pub use transit_key::TransitKey;
pub use vault_dynamic_lease::VaultDynamicLease;
pub use vault_root::{RootMethod, VaultRoot};
pub use vault_static_role::VaultStaticRole;

use crate::failure::{Class, Failure};
use crate::kind::Trouble;
use crate::ports::{Document, FenceAnswer, FenceCall, Postgres};
use crate::shape::Shape;
use keyward_rotation::saga::Event;
use keyward_secret::{Generator, Secret, Source, Values};

/// A named value that must be there: its absence is a defect in the record, not a reason to go on without.
fn value<'a>(values: &'a Values, name: &str) -> Result<&'a Secret, Failure> {
    values.get(name).ok_or_else(|| Failure::lasting(Class::Invalid, format!("the record holds no {name}")))
}

/// A fresh value.
fn fresh(generator: &Generator, random: &dyn Source) -> Result<Secret, Failure> {
    generator.generate(random).map_err(|e| Failure::passing(Class::Other, e.to_string()))
}

/// The fence's answer as the step's result.
fn fenced(answer: FenceAnswer, role: &str) -> Result<(), Trouble> {
    match answer {
        FenceAnswer::Applied => Ok(()),
        FenceAnswer::Fenced { number } => Err(Trouble::Fenced(number)),
        FenceAnswer::Foreign { secret } => {
            let text = format!("the role {role} belongs to the secret {secret}; a role belongs to one secret");
            Err(Failure::lasting(Class::Foreign, text).into())
        }
    }
}

/// Makes a role's password one that nobody knows.
async fn make_unusable(target: &dyn Postgres, call: FenceCall<'_>, random: &dyn Source) -> Result<FenceAnswer, Failure> {
    target.apply(call, &fresh(&Generator::password(), random)?).await
}

/// Logs in with the user name and the password as consumers read them.
async fn login_as_read(target: &dyn Postgres, shape: &Shape, live: &Document, user: Option<&str>) -> Result<(), Failure> {
    let absent = |what: &str| Failure::lasting(Class::Invalid, format!("the published secret holds no {what} as a text"));
    let password = shape.published("password", live).ok_or_else(|| absent("password"))?;
    match user {
        Some(user) => target.login(user, &password).await,
        None => target.login(shape.published("username", live).ok_or_else(|| absent("user name"))?.expose(), &password).await,
    }
}

/// A failure that says "nothing was changed" about a step that is not part of a kind's table: a defect of ours.
fn no_such_step(step: keyward_rotation::table::Step) -> Trouble {
    Failure::lasting(Class::Invalid, format!("this kind has no step {}", step.name())).into()
}

/// What a failed preflight login means: a person who asked may go on over a password that is already broken.
fn published_must_work(result: Result<(), Failure>, by_person: bool) -> Result<(), Failure> {
    match result {
        Err(failure) if failure.class == Class::WrongPassword && by_person => Ok(()),
        Err(failure) => {
            let cure = if failure.event() == (Event::Failed { again: false }) { "; `keyward rotate` by a person replaces it" } else { "" };
            Err(Failure { text: format!("what is published now does not log in: {}{cure}", failure.text), ..failure })
        }
        Ok(()) => Ok(()),
    }
}
