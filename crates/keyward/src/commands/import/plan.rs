//! What an import would do, decided without asking or changing anything: which value goes to which field, and what is left alone.

use super::map::{Map, Origin, Origins, Target};
use super::source::Source;
use clap::ValueEnum;
use keyward_secret::{Fields, Secret};
use std::collections::{BTreeMap, BTreeSet};

/// What becomes of settings, which are no secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Settings {
    /// They go beside the secret's fields
    With,
    /// They go to a path of their own
    Apart,
    /// They stay where they are
    Skip,
}

/// A field with the value that it shall have.
#[derive(Debug)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its value as JSON text.
    pub value: Secret,
    /// Where it comes from; several where they agree.
    pub from: Vec<Origin>,
}

/// One secret as the source would have it.
#[derive(Debug)]
pub struct Wanted {
    /// Below the mount.
    pub path: String,
    /// Fields that the source has.
    pub fields: Vec<Field>,
    /// Fields that it does not have, and where they were looked for.
    pub missing: Vec<(String, Vec<Origin>)>,
}

/// What every field of every secret shall be.
///
/// # Errors
/// Every value that cannot be told: origins that contradict each other, URLs that cannot be split.
pub fn resolve(map: &Map, source: &Source, settings: Settings) -> Result<Vec<Wanted>, Vec<String>> {
    let (mut all, mut problems) = (Vec::new(), Vec::new());
    for target in &map.targets {
        let (beside, apart) = match settings {
            Settings::With => (Some(&target.settings), None),
            Settings::Apart => (None, Some(&target.settings)),
            Settings::Skip => (None, None),
        };
        let fields = target.fields.iter().chain(beside.into_iter().flatten());
        all.push(wanted(&target.path, fields, source, &mut problems));
        if let Some(apart) = apart.filter(|apart| !apart.is_empty()) {
            all.push(wanted(&target.settings_path, apart.iter(), source, &mut problems));
        }
    }
    problems.extend(contested(&all));
    if problems.is_empty() { Ok(all) } else { Err(problems) }
}

/// Fields of one secret that two parts of the map fill with different values.
fn contested(all: &[Wanted]) -> Vec<String> {
    let mut fields: BTreeMap<(&str, &str), &Field> = BTreeMap::new();
    let mut problems = Vec::new();
    for (path, field) in all.iter().flat_map(|wanted| wanted.fields.iter().map(|field| (wanted.path.as_str(), field))) {
        match fields.insert((path, &field.name), field) {
            Some(other) if !other.value.same_as(&field.value) => {
                let from = |field: &Field| field.from.first().map(ToString::to_string).unwrap_or_default();
                problems.push(format!("{path}, field {}: {} and {} both go there; change the map", field.name, from(other), from(field)));
            }
            _ => {}
        }
    }
    problems
}

fn wanted<'a>(
    path: &str,
    fields: impl Iterator<Item = (&'a String, &'a Vec<Origin>)>,
    source: &Source,
    problems: &mut Vec<String>,
) -> Wanted {
    let mut wanted = Wanted { path: path.to_owned(), fields: Vec::new(), missing: Vec::new() };
    for (name, origins) in fields {
        match field(name, origins, source) {
            Ok(Some(field)) => wanted.fields.push(field),
            Ok(None) => wanted.missing.push((name.clone(), origins.clone())),
            Err(why) => problems.push(format!("{path}, field {name}: {why}")),
        }
    }
    wanted
}

fn field(name: &str, origins: &[Origin], source: &Source) -> Result<Option<Field>, String> {
    let mut found: Option<Field> = None;
    for origin in origins {
        let value = source.take(origin).map_err(|why| format!("{} {why}", origin.variable))?;
        match (&mut found, value) {
            (_, None) => {}
            (None, Some(value)) => found = Some(Field { name: name.to_owned(), value, from: vec![origin.clone()] }),
            (Some(field), Some(value)) if field.value.same_as(&value) => field.from.push(origin.clone()),
            (Some(field), Some(_)) => {
                let first = field.from.first().map(ToString::to_string).unwrap_or_default();
                return Err(format!("{first} and {origin} differ, so one of them is stale; correct or remove it"));
            }
        }
    }
    Ok(found)
}

/// What is to be done about a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Vault does not have it: it is written.
    New,
    /// Vault has the same value.
    Same,
    /// Vault has another value, which is newer for all that is known: it stays.
    Kept,
    /// Vault does not have it, and it comes from the same variable as one that is [kept](Self::Kept): it would be as old as that.
    Outdated,
    /// The secret was deleted in Vault, and does not rise again by an import.
    Deleted,
}

/// What stands in Vault now.
#[derive(Clone, Copy, Debug)]
pub struct Now<'a> {
    /// 0: there never was anything.
    pub version: u64,
    /// The fields, unless it was deleted.
    pub fields: Option<&'a Fields>,
}

impl Wanted {
    /// What is to be done about each field, in the order of [`Self::fields`].
    pub fn judge(&self, now: Now<'_>) -> Vec<Verdict> {
        let verdict = |field: &Field| match (now.fields, now.version) {
            (None, 0) => Verdict::New,
            (None, _) => Verdict::Deleted,
            (Some(there), _) => match there.json(&field.name) {
                None => Verdict::New,
                Some(value) if value.same_as(&field.value) => Verdict::Same,
                Some(_) => Verdict::Kept,
            },
        };
        let mut verdicts: Vec<Verdict> = self.fields.iter().map(verdict).collect();
        let of = |field: &Field, variables: &BTreeSet<String>| field.from.iter().any(|origin| variables.contains(&origin.variable));
        let kept = self.fields.iter().zip(&verdicts).filter(|(_, verdict)| **verdict == Verdict::Kept);
        let old: BTreeSet<String> = kept.flat_map(|(field, _)| &field.from).map(|origin| origin.variable.clone()).collect();
        for (field, verdict) in self.fields.iter().zip(&mut verdicts).filter(|(_, verdict)| **verdict == Verdict::New) {
            if of(field, &old) {
                *verdict = Verdict::Outdated;
            }
        }
        verdicts
    }

    /// The fields that are to be written.
    pub fn additions(&self, verdicts: &[Verdict]) -> Fields {
        let mut fields = Fields::new();
        for (field, _) in self.fields.iter().zip(verdicts).filter(|(_, v)| **v == Verdict::New) {
            fields.set_json(&field.name, field.value.duplicate());
        }
        fields
    }
}

/// The variables that no field asked for.
pub fn unmapped<'s>(map: &Map, source: &'s Source) -> Vec<&'s str> {
    let all = |target: &Target| -> Vec<Origins> { vec![target.fields.clone(), target.settings.clone()] };
    let asked: BTreeSet<String> =
        map.targets.iter().flat_map(all).flat_map(|origins| origins.into_values().flatten()).map(|origin| origin.variable).collect();
    let is_asked = |name: &str| asked.iter().any(|a| a == name || a.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')));
    source.names().filter(|name| !is_asked(name)).collect()
}

/// The variables whose whole value stands in Vault, so that their plaintext is needed no more: every field made of one is there, and
/// one of them is all of it.
pub fn settled(wanted: &[(&Wanted, Vec<Verdict>)]) -> BTreeSet<String> {
    let (mut whole, mut open) = (BTreeSet::new(), BTreeSet::new());
    for (secret, verdicts) in wanted {
        for (field, verdict) in secret.fields.iter().zip(verdicts) {
            for origin in &field.from {
                if *verdict != Verdict::Same {
                    open.insert(origin.variable.clone());
                } else if origin.part.is_none() {
                    whole.insert(origin.variable.clone());
                }
            }
        }
    }
    whole.difference(&open).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = r#"
        [[secret]]
        path = "db"
        fields = { url = "DATABASE_URL", password = ["DB_PASSWORD", "DATABASE_URL#password"] }
        settings = { host = "DATABASE_URL#host" }
        [[secret]]
        path = "roblox"
        fields = { api_key = "ROBLOX_API_KEY" }
    "#;

    fn map() -> Map {
        Map::parse(MAP, "map").unwrap_or_else(|e| panic!("{e}"))
    }

    fn source(text: &str) -> Source {
        Source::from_env(text, ".env").unwrap_or_else(|e| panic!("{e}"))
    }

    fn shape(all: &[Wanted]) -> Vec<String> {
        let names = |w: &Wanted| w.fields.iter().map(|f| f.name.clone()).collect::<Vec<_>>().join(",");
        all.iter().map(|w| format!("{}: {} -{}", w.path, names(w), w.missing.len())).collect()
    }

    #[test]
    fn settings_go_where_somebody_said() {
        let (map, source) = (map(), source("DATABASE_URL=postgres://u:p@h/d\nDEBUG=1\nROBLOX_API_KEY="));
        let check = |settings, expected: &[&str]| {
            let all = resolve(&map, &source, settings).unwrap_or_else(|p| panic!("{p:?}"));
            assert_eq!(shape(&all), expected);
        };
        check(Settings::With, &["db: password,url,host -0", "roblox:  -1"]);
        check(Settings::Apart, &["db: password,url -0", "db-settings: host -0", "roblox:  -1"]);
        check(Settings::Skip, &["db: password,url -0", "roblox:  -1"]);
        assert_eq!(unmapped(&map, &source), ["DEBUG"]);
    }

    #[test]
    fn a_contradiction_and_a_broken_url_stop_everything_unseen() {
        let differ = source("DB_PASSWORD=hunter2\nDATABASE_URL=postgres://u:hunter3@h/d");
        let Err(problems) = resolve(&map(), &differ, Settings::Skip) else { panic!() };
        assert_eq!(
            problems,
            ["db, field password: DB_PASSWORD and the password in DATABASE_URL differ, so one of them is stale; correct or remove it"]
        );
        let Err(problems) = resolve(&map(), &source("DATABASE_URL=hunter2"), Settings::Skip) else { panic!() };
        assert!(problems.len() == 1 && problems[0].contains("cannot be split") && !problems[0].contains("hunter"), "{problems:?}");
    }

    #[test]
    fn two_parts_of_a_map_that_fill_one_field_have_to_agree() {
        let map = "[[secret]]\npath = \"a\"\nfields = { k = \"ONE\" }\n\
                   [[secret]]\npath = \"b\"\nfields = { c = \"C\" }\nsettings_path = \"a\"\nsettings = { k = \"TWO\" }\n";
        let map = Map::parse(map, "map").unwrap_or_else(|e| panic!("{e}"));
        let Err(problems) = resolve(&map, &source("ONE=1\nTWO=2\nC=3"), Settings::Apart) else { panic!() };
        assert_eq!(problems, ["a, field k: ONE and TWO both go there; change the map"]);
        assert!(resolve(&map, &source("ONE=1\nTWO=1\nC=3"), Settings::Apart).is_ok());
        assert!(resolve(&map, &source("ONE=1\nTWO=2\nC=3"), Settings::Skip).is_ok());
    }

    #[test]
    fn what_vault_holds_is_never_overwritten() {
        let source = source("DATABASE_URL=postgres://u:p@h/d");
        let all = resolve(&map(), &source, Settings::With).unwrap_or_else(|p| panic!("{p:?}"));
        let there = Fields::parse(&Secret::new(r#"{"password":"rotated","host":"h"}"#)).unwrap_or_else(|e| panic!("{e}"));
        let verdicts = all[0].judge(Now { version: 3, fields: Some(&there) });
        // The URL holds the old password, too.
        assert_eq!(verdicts, [Verdict::Kept, Verdict::Outdated, Verdict::Same]);
        assert_eq!(all[0].additions(&verdicts).names().count(), 0);
        let there = Fields::parse(&Secret::new(r#"{"host":"h"}"#)).unwrap_or_else(|e| panic!("{e}"));
        let verdicts = all[0].judge(Now { version: 3, fields: Some(&there) });
        assert_eq!(all[0].additions(&verdicts).names().collect::<Vec<_>>(), ["password", "url"]);
        assert_eq!(all[0].judge(Now { version: 3, fields: None }), [Verdict::Deleted; 3]);
        assert_eq!(all[0].judge(Now { version: 0, fields: None }), [Verdict::New; 3]);
    }

    #[test]
    fn plaintext_is_needed_no_more_only_when_all_of_it_is_in_vault() {
        let source = source("DATABASE_URL=postgres://u:p@h/d\nDB_PASSWORD=p");
        let all = resolve(&map(), &source, Settings::With).unwrap_or_else(|p| panic!("{p:?}"));
        let after = |verdicts: [Verdict; 3]| settled(&[(&all[0], verdicts.to_vec())]).into_iter().collect::<Vec<_>>();
        assert_eq!(after([Verdict::Same; 3]), ["DATABASE_URL", "DB_PASSWORD"]);
        assert_eq!(after([Verdict::Same, Verdict::Same, Verdict::Kept]), ["DB_PASSWORD"]);
        assert_eq!(after([Verdict::Kept, Verdict::Same, Verdict::Same]), [""; 0]);
        // Only a part of it was asked for: the rest stands nowhere else.
        let map =
            Map::parse("[[secret]]\npath = \"db\"\nfields = { p = \"DATABASE_URL#password\" }", "map").unwrap_or_else(|e| panic!("{e}"));
        let part = resolve(&map, &source, Settings::With).unwrap_or_else(|p| panic!("{p:?}"));
        assert!(settled(&[(&part[0], vec![Verdict::Same])]).is_empty());
    }
}
