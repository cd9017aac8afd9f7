//! What a process has heard so far: enough to bring an errand back to where it stood, without the world.

use crate::Millis;
use keyward_engine::ports::{Document, FenceAnswer, Session, StaticCredential, StaticRole, WriteFailure};
use keyward_engine::{Class, Failure};
use keyward_secret::{Secret, Values};
use std::any::Any;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// One answer, and when it was heard.
pub(crate) type Heard = (Arc<dyn Any + Send + Sync>, Millis);

/// An errand as far as it got. Being deterministic, its process does the same again when it is told the same.
#[derive(Clone, Default)]
pub(crate) struct Script {
    pub(crate) heard: Vec<Heard>,
    /// How many of [`Self::heard`] were told again.
    told: usize,
    /// What the process's clocks show.
    pub(crate) now: Millis,
    /// Tells one errand from another as far as it matters to what follows.
    pub(crate) hash: u64,
}

impl Script {
    /// To be told again from the beginning.
    pub(crate) fn again(heard: Vec<Heard>, begun: Millis, hash: u64) -> Self {
        Self { heard, told: 0, now: begun, hash }
    }

    /// The next answer, if it was heard before.
    pub(crate) fn tell<R: Answered>(&mut self) -> Option<R> {
        let (answer, at) = self.heard.get(self.told)?;
        let answer = answer.downcast_ref::<R>()?.copy();
        self.now = *at;
        self.told += 1;
        Some(answer)
    }

    /// A new answer.
    pub(crate) fn hear<R: Answered>(&mut self, answer: &R, now: Millis) {
        let mut hasher = DefaultHasher::new();
        (self.hash, now).hash(&mut hasher);
        answer.mix(&mut hasher);
        self.hash = hasher.finish();
        self.heard.push((Arc::new(answer.copy()), now));
        self.told += 1;
        self.now = now;
    }
}

/// An answer of a port, which can be heard twice and told from others.
pub(crate) trait Answered: Send + Sync + Sized + 'static {
    fn copy(&self) -> Self;
    fn mix(&self, into: &mut DefaultHasher);
}

impl<T: Answered> Answered for Result<T, Failure> {
    fn copy(&self) -> Self {
        self.as_ref().map(T::copy).map_err(Failure::clone)
    }
    fn mix(&self, into: &mut DefaultHasher) {
        match self {
            Ok(answer) => answer.mix(into),
            Err(failure) => failed(failure, into),
        }
    }
}

impl<T: Answered> Answered for Result<T, WriteFailure> {
    fn copy(&self) -> Self {
        match self {
            Ok(answer) => Ok(answer.copy()),
            Err(WriteFailure::Conflict) => Err(WriteFailure::Conflict),
            Err(WriteFailure::Gone) => Err(WriteFailure::Gone),
            Err(WriteFailure::Failed(failure)) => Err(WriteFailure::Failed(failure.clone())),
        }
    }
    fn mix(&self, into: &mut DefaultHasher) {
        match self {
            Ok(answer) => answer.mix(into),
            Err(WriteFailure::Conflict) => "conflict".hash(into),
            Err(WriteFailure::Gone) => "gone".hash(into),
            Err(WriteFailure::Failed(failure)) => failed(failure, into),
        }
    }
}

fn failed(failure: &Failure, into: &mut DefaultHasher) {
    let class = Class::ALL.iter().position(|class| *class == failure.class);
    (class, failure.again, failure.unknown).hash(into);
}

macro_rules! plain {
    ($($of:ty),*) => {$(
        impl Answered for $of {
            fn copy(&self) -> Self {
                self.clone()
            }
            fn mix(&self, into: &mut DefaultHasher) {
                self.hash(into);
            }
        }
    )*};
}

plain!((), u64, Option<u64>, Vec<String>);

macro_rules! shown {
    ($($of:ty),*) => {$(
        impl Answered for $of {
            fn copy(&self) -> Self {
                self.clone()
            }
            /// Nothing in these is secret, so all of it is shown.
            fn mix(&self, into: &mut DefaultHasher) {
                format!("{self:?}").hash(into);
            }
        }
    )*};
}

shown!(FenceAnswer, Vec<Session>, StaticRole);

impl Answered for Document {
    fn copy(&self) -> Self {
        Self { version: self.version, fields: self.fields.as_ref().map(keyward_secret::Fields::duplicate) }
    }
    fn mix(&self, into: &mut DefaultHasher) {
        self.version.hash(into);
        for (fields, name) in self.fields.iter().flat_map(|fields| fields.names().map(move |name| (fields, name))) {
            (name, fields.json(name).map(Secret::expose)).hash(into);
        }
    }
}

impl Answered for StaticCredential {
    fn copy(&self) -> Self {
        let values: Values = self.values.iter().map(|(name, value)| (name.clone(), value.duplicate())).collect();
        Self { values, last_rotation: self.last_rotation.clone() }
    }
    fn mix(&self, into: &mut DefaultHasher) {
        self.last_rotation.hash(into);
        self.values.iter().for_each(|(name, value)| (name, value.expose()).hash(into));
    }
}
