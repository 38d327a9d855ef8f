//! The flags of the settings, made from the table.
//!
//! The two secrets have none: arguments are public.

use std::collections::BTreeMap;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command, Error, FromArgMatches};

use super::settings::{Meta, SETTINGS};

/// The settings that were given as flags, by their keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConfigFlags(BTreeMap<&'static str, String>);

impl ConfigFlags {
    /// What a flag holds; an empty one counts as not given.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Flags of these keys.
    #[cfg(test)]
    pub(crate) fn of(pairs: &[(&'static str, &str)]) -> Self {
        Self(pairs.iter().map(|(key, value)| (*key, (*value).to_owned())).collect())
    }
}

fn metas() -> impl Iterator<Item = Meta> {
    SETTINGS.iter().map(|known| known.meta()).filter(|meta| meta.flag)
}

fn help(meta: &Meta) -> String {
    let notes = [
        meta.variable.to_owned(),
        if meta.default.is_empty() { String::new() } else { format!("default {}", meta.default) },
    ];
    let notes: Vec<String> = notes.into_iter().filter(|note| !note.is_empty()).collect();
    if notes.is_empty() { meta.help.to_owned() } else { format!("{} [{}]", meta.help, notes.join("; ")) }
}

impl clap::Args for ConfigFlags {
    fn augment_args(command: Command) -> Command {
        metas().fold(command, |command, meta| {
            let arg = Arg::new(meta.key)
                .long(meta.key.replace('_', "-"))
                .value_name(meta.value_name)
                .action(ArgAction::Set)
                .help(help(&meta))
                .help_heading("Settings (each flag wins over its variable, and that over the file)");
            command.arg(if meta.switch {
                arg.num_args(0..=1).require_equals(true).default_missing_value("true")
            } else {
                arg
            })
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ConfigFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        for meta in metas() {
            let value = matches
                .try_get_one::<String>(meta.key)
                .map_err(|error| Error::raw(ErrorKind::UnknownArgument, error.to_string()))?;
            if let Some(value) = value {
                self.0.insert(meta.key, value.clone());
            }
        }
        Ok(())
    }
}
