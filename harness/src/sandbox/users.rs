//! The users of the sandbox's machine.
//!
//! Owns passwd and group as data and as text. Must not look at the real machine's.

use std::path::{Path, PathBuf};

use super::plan::Ids;
use crate::scenario::User;

/// The uid of a service with `DynamicUser=`: fixed, so that runs are alike. systemd takes one of 61184..=65519.
pub(crate) const DYNAMIC_UID: u32 = 64_033;

/// One row of passwd.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) ids: Ids,
    pub(crate) home: PathBuf,
    /// Whether the home directory exists.
    pub(crate) has_home: bool,
}

/// Every user there is.
#[derive(Debug)]
pub(crate) struct Users(Vec<Account>);

impl Users {
    /// root, www-data, nobody, app and the scenario's own.
    pub(crate) fn new(own: &[User]) -> Self {
        let account = |name: &str, id: u32, home: &Path, has_home: bool| Account {
            name: name.to_owned(),
            ids: Ids { uid: id, gid: id },
            home: home.to_owned(),
            has_home,
        };
        let mut accounts = vec![
            account("root", 0, Path::new("/root"), true),
            account("www-data", 33, Path::new("/var/www"), true),
            account("nobody", 65_534, Path::new("/nonexistent"), false),
            account("app", 1_000, Path::new("/home/app"), true),
        ];
        for user in own {
            accounts.retain(|account| account.name != user.name.0);
            accounts.push(Account {
                name: user.name.0.clone(),
                ids: Ids { uid: user.uid.0, gid: user.gid.unwrap_or(user.uid).0 },
                home: user.home.0.clone(),
                has_home: true,
            });
        }
        Self(accounts)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Account> {
        self.0.iter()
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Account> {
        self.0.iter().find(|account| account.name == name)
    }

    /// The name of a uid, or its number.
    pub(crate) fn name_of(&self, uid: u32) -> String {
        let account = self.0.iter().find(|account| account.ids.uid == uid);
        account.map_or_else(|| uid.to_string(), |account| account.name.clone())
    }

    pub(crate) fn passwd(&self) -> String {
        let row = |account: &Account| {
            let Account { name, ids, home, .. } = account;
            format!("{name}:x:{}:{}:{name}:{}:/usr/sbin/nologin\n", ids.uid, ids.gid, home.display())
        };
        self.0.iter().map(row).collect()
    }

    pub(crate) fn group(&self) -> String {
        self.0.iter().map(|account| format!("{}:x:{}:\n", account.name, account.ids.gid)).collect()
    }
}
