//! Checks a NAR while it streams by, in bounded memory.

use super::MAGIC;

/// The longest name of a directory entry, in bytes, as file systems allow.
pub const MAX_NAME: usize = 255;
/// The longest target of a symbolic link, in bytes: Linux's PATH_MAX without its NUL.
pub const MAX_TARGET: usize = 4095;
/// The deepest nesting of directories: what a path of PATH_MAX bytes can have.
pub const MAX_DEPTH: usize = 2048;

/// Why a stream is not a NAR. Offsets are in bytes from the NAR's beginning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NarError {
    /// The stream does not begin as a NAR does.
    #[error("the data is not a NAR: it does not begin with \"nix-archive-1\"")]
    Magic,
    /// A word stands where the grammar has another.
    #[error("the NAR is malformed at byte {offset}: expected {expected}")]
    Unexpected {
        /// Where the word begins.
        offset: u64,
        /// What may stand there.
        expected: &'static str,
    },
    /// Padding holds something other than zeros.
    #[error("the NAR is malformed at byte {offset}: padding must be zeros")]
    Padding {
        /// Where the padding begins or goes on.
        offset: u64,
    },
    /// A name that is no name of a file.
    #[error(
        "the NAR is malformed at byte {offset}: a name must be 1 to 255 bytes without '/' and NUL, and neither \".\" nor \"..\""
    )]
    Name {
        /// Where the name begins.
        offset: u64,
    },
    /// Entries of a directory are out of order, or one is there twice.
    #[error("the NAR is malformed at byte {offset}: names in a directory must rise strictly")]
    Order {
        /// Where the name that is too late begins.
        offset: u64,
    },
    /// A symbolic link's target is empty, too long or holds a NUL.
    #[error("the NAR is malformed at byte {offset}: a link's target must be 1 to 4095 bytes without NUL")]
    Target {
        /// Where the target begins.
        offset: u64,
    },
    /// Directories are nested too deeply.
    #[error("the NAR is malformed at byte {offset}: directories are nested more than 2048 deep")]
    TooDeep {
        /// Where the directory begins.
        offset: u64,
    },
    /// There is something after the end.
    #[error("the NAR ends at byte {offset}, but there is more data")]
    Trailing {
        /// Where the NAR ends.
        offset: u64,
    },
    /// The stream ends in the middle.
    #[error("the NAR breaks off at byte {offset}")]
    Truncated {
        /// Where it breaks off.
        offset: u64,
    },
}

/// What the grammar allows next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Magic,
    NodeOpen,
    TypeKey,
    Type,
    /// `executable` or `contents`.
    RegularKey,
    /// The empty string after `executable`.
    ExecutableValue,
    ContentsKey,
    Contents,
    TargetKey,
    Target,
    NodeClose,
    /// `entry` or `)`.
    EntryOrClose,
    EntryOpen,
    NameKey,
    Name,
    NodeKey,
    EntryClose,
    End,
}

/// Where in a string the stream is.
#[derive(Debug, Clone, Copy)]
enum Reading {
    Length { bytes: [u8; 8], have: usize },
    Bytes { left: u64, padding: u8 },
    Padding { left: u8 },
}

const LENGTH: Reading = Reading::Length {
    bytes: [0; 8],
    have: 0,
};

/// Checks a NAR that comes in pieces of any size: the magic, the structure, zeros in the padding, names,
/// their strict order, and the nesting. Holds one name per open directory and one short word; file contents pass by.
#[derive(Debug)]
pub struct Validator {
    expect: Expect,
    reading: Reading,
    /// The string that is being read, unless it is a file's contents.
    word: Vec<u8>,
    /// The offset of the next byte, and of the current string.
    offset: u64,
    word_at: u64,
    /// The last name in each open directory.
    directories: Vec<Vec<u8>>,
}

impl Default for Validator {
    fn default() -> Self {
        Self::new()
    }
}

impl Validator {
    /// A validator that has seen nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            expect: Expect::Magic,
            reading: LENGTH,
            word: Vec::new(),
            offset: 0,
            word_at: 0,
            directories: Vec::new(),
        }
    }

    /// How many bytes were fed and found good.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// At the first byte that cannot be part of a NAR. Feed nothing more after an error.
    pub fn feed(&mut self, mut piece: &[u8]) -> Result<(), NarError> {
        while !piece.is_empty() {
            if self.expect == Expect::End {
                return Err(NarError::Trailing { offset: self.offset });
            }
            let used = self.step(piece)?;
            piece = piece.get(used..).unwrap_or_default();
        }
        Ok(())
    }

    /// Says that the stream is over.
    ///
    /// # Errors
    /// When the NAR is not complete.
    pub fn finish(&self) -> Result<(), NarError> {
        if self.expect == Expect::End {
            Ok(())
        } else {
            Err(NarError::Truncated { offset: self.offset })
        }
    }

    /// Takes as much of `piece` (not empty) as belongs to one part of a string; says how much.
    fn step(&mut self, piece: &[u8]) -> Result<usize, NarError> {
        match self.reading {
            Reading::Length { mut bytes, have } => {
                let used = piece.len().min(8 - have);
                bytes[have..have + used].copy_from_slice(&piece[..used]);
                if have == 0 {
                    self.word_at = self.offset;
                }
                self.advance(used);
                if have + used < 8 {
                    self.reading = Reading::Length {
                        bytes,
                        have: have + used,
                    };
                } else {
                    self.begin_bytes(u64::from_le_bytes(bytes))?;
                }
                Ok(used)
            }
            Reading::Bytes { left, padding } => {
                let used = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
                if self.expect != Expect::Contents {
                    self.word.extend_from_slice(&piece[..used]);
                }
                self.advance(used);
                let left = left - used as u64;
                if left > 0 {
                    self.reading = Reading::Bytes { left, padding };
                } else {
                    self.begin_padding(padding)?;
                }
                Ok(used)
            }
            Reading::Padding { left } => {
                let used = usize::from(left).min(piece.len());
                if piece[..used].iter().any(|&byte| byte != 0) {
                    return Err(NarError::Padding { offset: self.offset });
                }
                self.advance(used);
                let used_of_padding = u8::try_from(used).unwrap_or(left);
                self.begin_padding(left - used_of_padding)?;
                Ok(used)
            }
        }
    }

    fn begin_bytes(&mut self, length: u64) -> Result<(), NarError> {
        // Refuse a long string by its length, before it is held in memory.
        if length > self.longest() {
            return Err(self.unexpected());
        }
        self.word.clear();
        let padding = u8::try_from((8 - length % 8) % 8).unwrap_or_default();
        if length == 0 {
            return self.begin_padding(padding);
        }
        self.reading = Reading::Bytes {
            left: length,
            padding,
        };
        Ok(())
    }

    fn begin_padding(&mut self, left: u8) -> Result<(), NarError> {
        if left > 0 {
            self.reading = Reading::Padding { left };
            return Ok(());
        }
        self.reading = LENGTH;
        self.expect = self.next()?;
        Ok(())
    }

    const fn advance(&mut self, used: usize) {
        self.offset += used as u64;
    }

    const fn longest(&self) -> u64 {
        match self.expect {
            Expect::Contents => i64::MAX as u64,
            Expect::Name => MAX_NAME as u64,
            Expect::Target => MAX_TARGET as u64,
            // The longest word of the grammar is "nix-archive-1".
            _ => 16,
        }
    }

    /// Judges the string that was just read and says what comes after it.
    fn next(&mut self) -> Result<Expect, NarError> {
        let word = self.word.as_slice();
        let next = match (self.expect, word) {
            (Expect::Magic, MAGIC) => Expect::NodeOpen,
            (Expect::NodeOpen, b"(") => Expect::TypeKey,
            (Expect::TypeKey, b"type") => Expect::Type,
            (Expect::Type, b"regular") => Expect::RegularKey,
            (Expect::Type, b"symlink") => Expect::TargetKey,
            (Expect::Type, b"directory") => return self.open_directory(),
            (Expect::RegularKey, b"executable") => Expect::ExecutableValue,
            (Expect::ExecutableValue, b"") => Expect::ContentsKey,
            (Expect::RegularKey | Expect::ContentsKey, b"contents") => Expect::Contents,
            (Expect::Contents, _) => Expect::NodeClose,
            (Expect::TargetKey, b"target") => Expect::Target,
            (Expect::Target, target) if is_target(target) => Expect::NodeClose,
            (Expect::EntryOrClose, b"entry") => Expect::EntryOpen,
            (Expect::EntryOpen, b"(") => Expect::NameKey,
            (Expect::NameKey, b"name") => Expect::Name,
            (Expect::Name, name) if is_name(name) => return self.take_name(),
            (Expect::NodeKey, b"node") => Expect::NodeOpen,
            (Expect::EntryClose, b")") => Expect::EntryOrClose,
            (Expect::EntryOrClose, b")") => {
                self.directories.pop();
                self.after_node()
            }
            (Expect::NodeClose, b")") => self.after_node(),
            _ => return Err(self.unexpected()),
        };
        Ok(next)
    }

    fn open_directory(&mut self) -> Result<Expect, NarError> {
        if self.directories.len() >= MAX_DEPTH {
            return Err(NarError::TooDeep { offset: self.word_at });
        }
        self.directories.push(Vec::new());
        Ok(Expect::EntryOrClose)
    }

    fn take_name(&mut self) -> Result<Expect, NarError> {
        if let Some(last) = self.directories.last_mut() {
            // No name is empty, so the first is always above the empty one that stands for "none yet".
            if self.word.as_slice() <= last.as_slice() {
                return Err(NarError::Order { offset: self.word_at });
            }
            last.clone_from(&self.word);
        }
        Ok(Expect::NodeKey)
    }

    const fn after_node(&self) -> Expect {
        if self.directories.is_empty() {
            Expect::End
        } else {
            Expect::EntryClose
        }
    }

    const fn unexpected(&self) -> NarError {
        let offset = self.word_at;
        let expected = match self.expect {
            Expect::Magic => return NarError::Magic,
            Expect::Name => return NarError::Name { offset },
            Expect::Target => return NarError::Target { offset },
            Expect::NodeOpen | Expect::EntryOpen => "\"(\"",
            Expect::TypeKey => "\"type\"",
            Expect::Type => "\"regular\", \"symlink\" or \"directory\"",
            Expect::RegularKey => "\"executable\" or \"contents\"",
            Expect::ExecutableValue => "an empty string",
            Expect::ContentsKey => "\"contents\"",
            Expect::Contents => "a file of less than 2^63 bytes",
            Expect::TargetKey => "\"target\"",
            Expect::EntryOrClose => "\"entry\" or \")\"",
            Expect::NameKey => "\"name\"",
            Expect::NodeKey => "\"node\"",
            Expect::NodeClose | Expect::EntryClose | Expect::End => "\")\"",
        };
        NarError::Unexpected { offset, expected }
    }
}

fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.iter().any(|&byte| byte == b'/' || byte == 0)
}

fn is_target(target: &[u8]) -> bool {
    !target.is_empty() && !target.contains(&0)
}

#[cfg(test)]
mod tests;
