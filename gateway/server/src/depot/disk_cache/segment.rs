//! Files of the disk cache. A file is frames one after the other, each behind a head: magic (4), length (4), the first
//! eight bytes of its digest (8). When it is full, a table of all heads goes into a file beside it, so that the next
//! start need not read through it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use hayloft_store::Digest;

const MAGIC: &[u8; 4] = b"HFr1";
const HEAD: u32 = 16;
/// Longer frames are never made.
const LONGEST: u32 = 1 << 24;

/// The first bytes of a digest, offset and length of a frame.
pub(super) type Entry = ([u8; 8], u32, u32);

/// A file that frames are read from.
#[derive(Debug)]
pub(super) struct Segment(File);

/// A file that frames are written to.
#[derive(Debug)]
pub(super) struct Filling {
    folder: PathBuf,
    number: u32,
    file: File,
    length: u32,
    entries: Vec<Entry>,
}

impl Segment {
    /// Opens a file; gives its length and what it says it holds.
    pub(super) fn open(folder: &Path, number: u32) -> io::Result<(Self, u64, Vec<Entry>)> {
        let file = File::open(name(folder, number))?;
        let length = file.metadata()?.len();
        let entries = match table(folder, number, length) {
            Some(entries) => entries,
            None => walk(&file, length)?,
        };
        Ok((Self(file), length, entries))
    }

    pub(super) fn read(&self, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.0.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }
}

impl Filling {
    pub(super) fn new(folder: &Path, number: u32) -> io::Result<(Self, Segment)> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(name(folder, number))?;
        let segment = Segment(file.try_clone()?);
        let filling = Self {
            folder: folder.to_owned(),
            number,
            file,
            length: 0,
            entries: Vec::new(),
        };
        Ok((filling, segment))
    }

    pub(super) const fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn length(&self) -> u64 {
        u64::from(self.length)
    }

    /// Writes a frame; gives its offset.
    pub(super) fn append(&mut self, digest: &Digest, bytes: &[u8]) -> io::Result<u32> {
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        let end = self
            .length
            .checked_add(HEAD)
            .and_then(|at| at.checked_add(length));
        let (Some(end), true) = (end, length < LONGEST) else {
            return Err(io::Error::other("the frame is too long"));
        };
        let mark = digest.as_bytes().first_chunk().copied().unwrap_or([0; 8]);
        let mut record = Vec::with_capacity(bytes.len() + HEAD as usize);
        record.extend_from_slice(MAGIC);
        record.extend_from_slice(&length.to_le_bytes());
        record.extend_from_slice(&mark);
        record.extend_from_slice(bytes);
        self.file.write_all_at(&record, u64::from(self.length))?;
        let offset = self.length + HEAD;
        self.entries.push((mark, offset, length));
        self.length = end;
        Ok(offset)
    }

    /// Writes the table.
    pub(super) fn finish(self) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(self.entries.len() * 16 + 40);
        bytes.extend_from_slice(&u64::from(self.length).to_le_bytes());
        for (mark, offset, length) in &self.entries {
            bytes.extend_from_slice(mark);
            bytes.extend_from_slice(&offset.to_le_bytes());
            bytes.extend_from_slice(&length.to_le_bytes());
        }
        let digest = Digest::of(&bytes);
        bytes.extend_from_slice(digest.as_bytes());
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(table_name(&self.folder, self.number))?
            .write_all(&bytes)
    }
}

/// The numbers of all files, ascending.
pub(super) fn list(folder: &Path) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".frames"));
        numbers.extend(number.and_then(|number| u32::from_str_radix(number, 16).ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Removes a file and its table. One that cannot be removed is found again at the next start.
pub(super) fn remove(folder: &Path, number: u32) {
    for path in [name(folder, number), table_name(folder, number)] {
        let _ = std::fs::remove_file(path);
    }
}

/// What the table beside a file says; none when there is none, or it is not whole, or not of this file.
fn table(folder: &Path, number: u32, length: u64) -> Option<Vec<Entry>> {
    let bytes = std::fs::read(table_name(folder, number)).ok()?;
    let (body, digest) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
    if Digest::of(body).as_bytes().as_slice() != digest {
        return None;
    }
    let (of, entries) = body.split_first_chunk::<8>()?;
    if u64::from_le_bytes(*of) != length {
        return None;
    }
    let (entries, _) = entries.as_chunks::<16>();
    entries
        .iter()
        .map(|entry| {
            let (mark, rest) = entry.split_first_chunk::<8>()?;
            let (offset, rest) = rest.split_first_chunk::<4>()?;
            let (size, _) = rest.split_first_chunk::<4>()?;
            Some((*mark, u32::from_le_bytes(*offset), u32::from_le_bytes(*size)))
        })
        .collect()
}

/// Reads through a file, from head to head, as far as these make sense.
fn walk(file: &File, length: u64) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut at = 0_u64;
    while at + u64::from(HEAD) <= length {
        let mut head = [0; HEAD as usize];
        file.read_exact_at(&mut head, at)?;
        let Some((magic, rest)) = head.split_first_chunk::<4>() else {
            break;
        };
        let Some((size, mark)) = rest.split_first_chunk::<4>() else {
            break;
        };
        let size = u32::from_le_bytes(*size);
        let offset = at + u64::from(HEAD);
        let end = offset + u64::from(size);
        if magic != MAGIC || size >= LONGEST || end > length {
            break;
        }
        if let (Some(mark), Ok(offset)) = (mark.first_chunk::<8>(), u32::try_from(offset)) {
            entries.push((*mark, offset, size));
        }
        at = end;
    }
    Ok(entries)
}

fn name(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number:08x}.frames"))
}

fn table_name(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number:08x}.table"))
}
