//! What is measured, and how often.

use std::time::Duration;

use clap::ValueEnum;

/// Groups of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Row {
    /// Push of many paths.
    Push,
    /// Pull with nothing cached.
    Pull,
    /// Pull with everything cached.
    Hot,
    /// Push and pull of the mass rebuild.
    Rebuild,
    /// One large NAR.
    Big,
    /// Questions for narinfos.
    Narinfo,
    /// Bytes in Garage.
    Stored,
    /// One small path alone.
    Ack,
    /// The gateway's memory.
    Memory,
    /// 5 million paths.
    Scale,
}

/// What one call of the bench does.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What to measure.
    pub rows: Vec<Row>,
    /// How often.
    pub runs: usize,
    /// Clients at once.
    pub clients: usize,
    /// Small paths for a median.
    pub acknowledgements: usize,
    /// Makes small paths new every time.
    pub salt: usize,
    /// How long narinfos are asked for.
    pub narinfo_time: Duration,
    /// Uploads and pulls at once where memory is measured, and bytes of each.
    pub crowd: (usize, u64),
    /// Paths and chunks of the synthetic index.
    pub scale: (u64, u64),
}

impl Plan {
    /// Whether a row is wanted.
    #[must_use]
    pub fn has(&self, row: Row) -> bool {
        self.rows.contains(&row)
    }

    /// Whether servers are to be compared at all.
    #[must_use]
    pub fn compares(&self) -> bool {
        self.rows
            .iter()
            .any(|row| !matches!(row, Row::Memory | Row::Scale))
    }

    /// Whether anything is pulled.
    #[must_use]
    pub fn reads(&self) -> bool {
        [Row::Pull, Row::Hot, Row::Rebuild, Row::Big, Row::Stored]
            .iter()
            .any(|row| self.has(*row))
    }
}
