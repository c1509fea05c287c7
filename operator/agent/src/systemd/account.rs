//! The users as whom units run.

use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::files::Owner;
use crate::unit::UnitName;

/// Looking up a user may ask a directory server.
const LONGEST: Duration = Duration::from_secs(20);

/// A user with a group of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its numbers.
    pub owner: Owner,
}

/// There is no such user.
#[derive(Debug, thiserror::Error)]
#[error("this machine has no user {name}; `hayloft agent install --systemd` makes it ({why})")]
pub struct AccountError {
    /// The user.
    pub name: String,
    /// What was found out.
    pub why: String,
}

impl Account {
    /// The name of the user as whom a unit runs: one for each, so that none can read or signal the other.
    #[must_use]
    pub fn name_for(unit: UnitName) -> String {
        format!("hayloft-{unit}")
    }

    /// Looks a user up, wherever the machine keeps its users.
    ///
    /// # Errors
    /// When there is none of that name.
    pub async fn find(name: &str) -> Result<Self, AccountError> {
        let owner = Owner {
            uid: number("-u", name).await?,
            gid: number("-g", name).await?,
        };
        Ok(Self {
            name: name.to_owned(),
            owner,
        })
    }
}

async fn number(which: &str, name: &str) -> Result<u32, AccountError> {
    let fail = |why: String| AccountError {
        name: name.to_owned(),
        why,
    };
    let mut command = Command::new("id");
    command.args([which, "--", name]).kill_on_drop(true);
    let output = timeout(LONGEST, command.output())
        .await
        .map_err(|_| fail("`id` does not answer".to_owned()))?
        .map_err(|error| fail(format!("`id`: {error}")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim()
        .parse()
        .map_err(|_| fail(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}
