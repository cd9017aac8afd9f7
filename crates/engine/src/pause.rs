//! Pausing: a person holds a secret, or a whole class, until somebody says resume. It stands in Vault, so that every daemon
//! knows it and no restart forgets it.

use crate::drive::{Engine, Spec};
use crate::failure::{Class, Failure};
use crate::ports::WriteFailure;
use crate::recording::Put;
use crate::stored::{Held, Stored};
use keyward_rotation::class::{ClassState, FORMAT, Pause};
use keyward_rotation::record::{Phase, Record};
use keyward_secret::{Fields, Secret};

/// A secret's name holds no slash, so no record stands where a class does.
fn place(class: &str) -> String {
    format!("class/{class}")
}

impl Engine {
    /// Pauses a secret that nobody works on. Its older values are left as they are, too.
    ///
    /// # Errors
    /// When it is not idle, or the record could not be written.
    pub async fn pause(&self, spec: &Spec, stored: Stored, by: &str, why: &str) -> Result<(), Failure> {
        let name = &spec.name;
        let Some(record) = stored.record else { return Err(Failure::lasting(Class::Invalid, "it has no record yet")) };
        match &record.phase {
            Phase::Idle => {}
            Phase::Paused { by, .. } => return Err(Failure::lasting(Class::Invalid, format!("{name} is paused already, by {by}"))),
            Phase::Stuck { .. } => {
                let text = format!("{name} is stuck, so nothing is done with it anyway; `keyward status {name}` says what it waits for");
                return Err(Failure::lasting(Class::Invalid, text));
            }
            Phase::Staged(_) | Phase::Back(_) => {
                return Err(Failure::passing(Class::InUse, format!("a rotation of {name} is under way; pause it when that has ended")));
            }
        }
        let phase = Phase::Paused { by: by.to_owned(), why: why.to_owned(), since: self.clock.now() };
        match self.put(name, stored.version, &Record { phase, ..record }, &Held::default()).await {
            Put::Won(_) => Ok(()),
            Put::Lost => Err(Failure::passing(Class::InUse, "somebody else changed the record just now; look again")),
            Put::Failed(failure) => Err(failure),
        }
    }

    /// Who paused a class; `None` when nobody did.
    ///
    /// # Errors
    /// What Vault answered, or why what stands there cannot be read.
    pub async fn class_pause(&self, class: &str) -> Result<Option<Pause>, Failure> {
        Ok(self.class_state(class).await?.1.paused)
    }

    /// Pauses every secret of a class: none is rotated by the schedule until [`Self::resume_class`].
    ///
    /// # Errors
    /// When it is paused already, or it could not be written.
    pub async fn pause_class(&self, class: &str, by: &str, why: &str) -> Result<Pause, Failure> {
        let (version, state) = self.class_state(class).await?;
        if let Some(pause) = state.paused {
            return Err(Failure::lasting(Class::Invalid, format!("the class {class} is paused already, by {pause}")));
        }
        let pause = Pause { by: by.to_owned(), why: why.to_owned(), since: self.clock.now() };
        self.write_class(version, ClassState { paused: Some(pause.clone()), ..state }).await?;
        Ok(pause)
    }

    /// Ends the pause of a class.
    ///
    /// # Errors
    /// When it is not paused, or it could not be written.
    pub async fn resume_class(&self, class: &str) -> Result<(), Failure> {
        let (version, state) = self.class_state(class).await?;
        if state.paused.is_none() {
            return Err(Failure::lasting(Class::Invalid, format!("the class {class} is not paused; there is nothing to resume")));
        }
        self.write_class(version, ClassState { paused: None, ..state }).await
    }

    async fn class_state(&self, class: &str) -> Result<(u64, ClassState), Failure> {
        let document =
            self.vault.record(&place(class)).await.map_err(|f| f.during(&format!("reading whether the class {class} is paused")))?;
        let unreadable = |why: &str| Failure::lasting(Class::Invalid, format!("what is kept of the class {class} cannot be read: {why}"));
        let Some(text) = document.fields.as_ref().and_then(|f| f.json("class")) else {
            return Ok((document.version, ClassState { format: FORMAT, class: class.to_owned(), paused: None }));
        };
        let state: serde_json::Value = serde_json::from_str(text.expose()).map_err(|_| unreadable("it is not JSON"))?;
        match state.get("format").and_then(serde_json::Value::as_u64) {
            Some(format) if format > u64::from(FORMAT) => {
                Err(unreadable(&format!("it has format {format}, this program reads up to {FORMAT}; use the newer program")))
            }
            Some(_) => {
                let state = serde_json::from_value(state).map_err(|_| unreadable("its content is not what this format says"))?;
                Ok((document.version, state))
            }
            None => Err(unreadable("it has no format number")),
        }
    }

    async fn write_class(&self, cas: u64, state: ClassState) -> Result<(), Failure> {
        let text = serde_json::to_string(&ClassState { format: FORMAT, ..state.clone() })
            .map_err(|_| Failure::lasting(Class::Invalid, "a pause cannot be written as JSON"))?;
        let mut fields = Fields::new();
        fields.set_json("class", Secret::new(text));
        match self.vault.write_record(&place(&state.class), cas, &fields).await {
            Ok(_) => Ok(()),
            Err(WriteFailure::Conflict | WriteFailure::Gone) => {
                Err(Failure::passing(Class::InUse, "somebody else paused or resumed the class just now; look again"))
            }
            // Writing the same again is harmless, and says if it had been done.
            Err(WriteFailure::Failed(failure)) => Err(failure.during(&format!("writing the pause of the class {}", state.class))),
        }
    }
}
