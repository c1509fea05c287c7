//! NARs of any size made on the fly, the same bytes for the same seed.
//!
//! The format: nix.dev/manual/nix/2.26/protocols/nix-archive.

use aws_lc_rs::digest;
use bytes::{Bytes, BytesMut};
use futures::Stream;

use crate::attic_wire::Upload;

/// A store path whose NAR is one file of pseudo-random content, about half of which compresses.
#[derive(Debug, Clone, Copy)]
pub struct SyntheticNar {
    /// Bytes of the file in it.
    pub size: u64,
    /// Chooses the content and the store path.
    pub seed: u64,
}

const BLOCK: u64 = 256 * 1024;

impl SyntheticNar {
    /// The store path's hash part: 32 characters of Nix's alphabet.
    #[must_use]
    pub fn hash(&self) -> String {
        let alphabet = b"0123456789abcdfghijklmnpqrsvwxyz";
        let mut random = Random(self.seed ^ self.size.rotate_left(32) ^ 0x9e37_79b9_7f4a_7c15);
        (0..32)
            .map(|_| char::from(alphabet[usize::try_from(random.next() % 32).unwrap_or(0)]))
            .collect()
    }

    /// The NAR as it would be streamed by a client.
    pub fn stream(self) -> impl Stream<Item = std::io::Result<Bytes>> + Send + 'static {
        futures::stream::iter(self.blocks().map(Ok))
    }

    /// The NAR in blocks of at most 256 KiB.
    pub fn blocks(self) -> impl Iterator<Item = Bytes> + Send + 'static {
        let mut head = BytesMut::new();
        for word in ["nix-archive-1", "(", "type", "regular", "contents"] {
            put(&mut head, word.as_bytes());
        }
        head.extend_from_slice(&self.size.to_le_bytes());
        let padding = usize::try_from((8 - self.size % 8) % 8).unwrap_or(0);
        let mut tail = BytesMut::zeroed(padding);
        put(&mut tail, b")");
        let mut random = Random(self.seed.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1);
        let body = (0..self.size.div_ceil(BLOCK)).map(move |block| {
            let length = BLOCK.min(self.size - block * BLOCK);
            random.block(usize::try_from(length).unwrap_or(0))
        });
        std::iter::once(head.freeze())
            .chain(body)
            .chain(std::iter::once(tail.freeze()))
    }

    /// What a client says of it.
    #[must_use]
    pub fn upload(&self, cache: &str) -> Upload {
        let mut context = digest::Context::new(&digest::SHA256);
        let mut nar_size = 0;
        for block in self.blocks() {
            context.update(&block);
            nar_size += block.len() as u64;
        }
        let hash = self.hash();
        Upload {
            cache: cache.to_owned(),
            store_path: format!("/nix/store/{hash}-synthetic-{}", self.seed),
            store_path_hash: hash,
            references: Vec::new(),
            system: None,
            deriver: None,
            sigs: Vec::new(),
            ca: None,
            nar_hash: format!("sha256:{}", hex::encode(context.finish())),
            nar_size,
        }
    }
}

fn put(to: &mut BytesMut, word: &[u8]) {
    to.extend_from_slice(&(word.len() as u64).to_le_bytes());
    to.extend_from_slice(word);
    to.resize(to.len().next_multiple_of(8), 0);
}

/// xorshift64: quick, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn block(&mut self, length: usize) -> Bytes {
        let mut block = BytesMut::with_capacity(length + 8);
        while block.len() < length {
            let word = self.next();
            block.extend_from_slice(&word.to_le_bytes());
            // Every other word repeats a few letters, as text would.
            block.extend_from_slice(&[b'a' + u8::try_from(word % 4).unwrap_or(0); 8]);
        }
        block.truncate(length);
        block.freeze()
    }
}
