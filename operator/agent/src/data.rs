//! What is found where a host's blocks shall be, and what may be done about it.

use std::io;

use hayloft_api::agent::DataState;
use hayloft_garage::data_mark::{self, Expected, MARK_FILE};

use crate::agent::one_line;
use crate::blocks;
use crate::files::{self, WriteError};
use crate::launch::Places;

/// Looks at the data folder's mark.
pub(crate) fn state(places: &Places) -> DataState {
    let data_dir = places.data_dir();
    let expected = match data_mark::expected(&places.metadata_dir(), &data_dir) {
        Ok(expected) => expected,
        Err(error) => {
            return DataState::Unreadable {
                why: one_line(&error),
            };
        }
    };
    look(places, &expected).unwrap_or_else(|error| DataState::Unreadable {
        why: format!("{}: {error}", data_dir.display()),
    })
}

fn look(places: &Places, expected: &Expected) -> io::Result<DataState> {
    let data_dir = places.data_dir();
    let found = data_mark::found(&data_dir)?;
    Ok(match (expected, found) {
        (Expected::Mark(mark), Some(found)) if *mark == found => DataState::Present,
        (Expected::Mark(_), Some(_)) => DataState::OtherMark {
            holds_blocks: blocks::any(&data_dir)?,
        },
        (Expected::Mark(_), None) => DataState::MarkMissing {
            holds_blocks: blocks::any(&data_dir)?,
        },
        (Expected::Elsewhere, _) => DataState::Present,
        (Expected::Nothing, _) if blocks::any(&data_dir)? => DataState::MetadataLost,
        (Expected::Nothing, _) => DataState::Fresh,
    })
}

/// Whether what lies in the data folder is what the host has: an unmounted disk must not count as empty.
///
/// # Errors
/// Why not, in words.
pub(crate) fn countable(places: &Places) -> Result<(), String> {
    match state(places) {
        DataState::Fresh | DataState::Present | DataState::MetadataLost => Ok(()),
        DataState::MarkMissing { .. } => Err(
            "the data folder does not bear Garage's mark: its disk is not mounted, or was replaced"
                .to_owned(),
        ),
        DataState::OtherMark { .. } => Err("the data folder is another member's".to_owned()),
        DataState::Unreadable { why } => Err(why),
    }
}

/// Marks an empty data folder as the member's own, because a person said that the disk was replaced. Gives whether it did.
///
/// # Errors
/// When the mark cannot be written.
pub(crate) fn accept_empty(places: &Places) -> Result<bool, WriteError> {
    let empty = matches!(
        state(places),
        DataState::MarkMissing { holds_blocks: false } | DataState::OtherMark { holds_blocks: false }
    );
    let data_dir = places.data_dir();
    match data_mark::expected(&places.metadata_dir(), &data_dir) {
        Ok(Expected::Mark(mark)) if empty => {
            files::private_dir(&data_dir)?;
            files::replace(&data_dir.join(MARK_FILE), mark.as_bytes(), 0o600)
        }
        _ => Ok(false),
    }
}
