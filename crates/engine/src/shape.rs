//! The shape of a published secret: which fields Keyward sets, and from what.

use crate::failure::{Class, Failure};
use crate::ports::Document;
use keyward_secret::{Fields, Secret, Template, Values};
use std::collections::{BTreeMap, BTreeSet};

/// Field → template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape(pub BTreeMap<String, Template>);

impl Shape {
    /// The fields' names.
    pub fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// Every field rendered from these values.
    pub fn render(&self, values: &Values) -> Result<Fields, Failure> {
        let mut fields = Fields::new();
        for (name, template) in &self.0 {
            let text = template.render(values).map_err(|e| Failure::lasting(Class::Invalid, format!("field {name}: {e}")))?;
            fields.set_text(name, &text);
        }
        Ok(fields)
    }

    /// The field that holds this value and nothing else, by its template.
    pub fn field_of(&self, value: &str) -> Option<&str> {
        let plain = Template::parse(&format!("{{{value}}}")).ok()?;
        self.0.iter().find(|(_, template)| **template == plain).map(|(name, _)| name.as_str())
    }

    /// The names of the values that have a field of their own.
    pub fn plain(&self) -> BTreeSet<&str> {
        self.0.values().flat_map(Template::names).filter(|name| self.field_of(name).is_some()).collect()
    }

    /// Those of them that stand in the published document.
    pub fn read(&self, live: &Document) -> Values {
        self.plain().into_iter().filter_map(|name| Some((name.to_owned(), self.published(name, live)?))).collect()
    }

    /// A value as the published document holds it; `None` when it is not there (yet).
    pub fn published(&self, value: &str, live: &Document) -> Option<Secret> {
        live.fields.as_ref()?.text(self.field_of(value)?)
    }
}
