//! Writes what an import found missing in Vault, one secret after the other, each by one check-and-set write that is read back.
//!
//! **Invariant:** a value that stands in Vault is never changed. Between two writes the process may die: the next run goes on from there.

use super::super::by_hand::{Declined, How, Place, Written, write};
use super::plan::{Now, Verdict, Wanted};
use anyhow::Result;
use keyward_vault::{Client, KvDocument};

/// Others may write to the same secret meanwhile; who loses more often than this is told.
const TRIES: usize = 5;

/// A secret as the source would have it, beside what stands in Vault.
pub struct Compared<'w> {
    /// Where.
    pub place: Place,
    /// What the source has.
    pub wanted: &'w Wanted,
    /// The version that was read.
    pub version: u64,
    /// What is to be done about each field.
    pub verdicts: Vec<Verdict>,
    /// Which of the missing fields Vault has already.
    pub there: Vec<bool>,
}

impl<'w> Compared<'w> {
    /// Reads what stands there.
    ///
    /// # Errors
    /// What Vault answered.
    pub async fn read(client: &Client, mount: &str, wanted: &'w Wanted) -> Result<Self> {
        let place = Place { mount: mount.to_owned(), path: wanted.path.clone() };
        let read = place.read(client).await?;
        Ok(Self::with(place, wanted, &read))
    }

    fn with(place: Place, wanted: &'w Wanted, read: &KvDocument) -> Self {
        let has = |name: &String| read.fields.as_ref().is_some_and(|there| there.json(name).is_some());
        let there = wanted.missing.iter().map(|(name, _)| has(name)).collect();
        let verdicts = wanted.judge(Now { version: read.version, fields: read.fields.as_ref() });
        Self { place, wanted, version: read.version, verdicts, there }
    }

    /// Whether anything is to be written.
    pub fn is_new(&self) -> bool {
        self.verdicts.contains(&Verdict::New)
    }

    /// Writes the fields that are missing in Vault, and knows afterwards what stands there. Where somebody else writes meanwhile, it is judged anew.
    ///
    /// # Errors
    /// What Vault answered, or that others keep writing.
    pub async fn apply(&mut self, client: &Client) -> Result<()> {
        for _ in 0..TRIES {
            if !self.is_new() {
                return Ok(());
            }
            let fields = self.wanted.additions(&self.verdicts);
            let how = if self.version == 0 { How::Whole } else { How::Patch };
            // Won or lost, what stands there is read again and compared: only that counts.
            let written = write(client, &self.place, self.version, &fields, how).await?;
            let read = self.place.read(client).await?;
            let after = Self::with(self.place.clone(), self.wanted, &read);
            if written != Written::Conflict && after.is_new() {
                let text = format!("{} was written, and somebody else has already removed fields from it; import again", after.place);
                return Err(Declined::later(text).into());
            }
            *self = after;
        }
        Err(Declined::later(format!("others keep writing to {}; import again when they are done", self.place)).into())
    }
}
