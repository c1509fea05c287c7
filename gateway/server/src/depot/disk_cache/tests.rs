use std::time::Duration;

use super::*;

fn frame(n: u32, length: usize) -> (Digest, Bytes) {
    let mut bytes = vec![0; length];
    blake3::Hasher::new()
        .update(&n.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    (Digest::of(&bytes), bytes.into())
}

async fn open(folder: &Path, size: u64) -> DiskCache {
    DiskCache::open(folder, size).await.unwrap()
}

async fn fill(cache: &DiskCache, numbers: std::ops::Range<u32>) {
    for n in numbers {
        let (digest, bytes) = frame(n, 10_000);
        cache.keep(digest, &bytes);
        cache.settled().await;
    }
}

async fn held(cache: &DiskCache, numbers: std::ops::Range<u32>) -> Vec<u32> {
    let digests: Vec<Option<Digest>> = numbers.clone().map(|n| Some(frame(n, 10_000).0)).collect();
    let found = cache.get(&digests).await;
    let mut held = Vec::new();
    for (n, index) in numbers.zip(0..) {
        if let Some(bytes) = found.get(&index) {
            assert!(*bytes == frame(n, 10_000).1, "a wrong frame came back");
            held.push(n);
        }
    }
    held
}

/// Drops the cache and waits until its writer has ended, as a process that ends does.
async fn close(cache: DiskCache) {
    let shared = Arc::downgrade(&cache.shared);
    drop(cache);
    while shared.strong_count() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn bytes_in(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

fn files(folder: &Path, suffix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries
        .filter(|path| path.to_str().unwrap().ends_with(suffix))
        .collect();
    files.sort();
    files
}

#[tokio::test]
async fn what_was_kept_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 4 << 20).await;
    fill(&cache, 0..100).await;
    assert_eq!(held(&cache, 0..101).await.len(), 100);
    close(cache).await;
    let cache = open(dir.path(), 4 << 20).await;
    assert_eq!(held(&cache, 0..101).await.len(), 100);
    close(cache).await;
    // After a crash there is no table of the last file, or of none.
    for table in files(dir.path(), ".table") {
        std::fs::remove_file(table).unwrap();
    }
    let cache = open(dir.path(), 4 << 20).await;
    assert_eq!(held(&cache, 0..101).await.len(), 100);
}

#[tokio::test]
async fn it_never_takes_more_than_it_may_and_keeps_what_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let size = 2 << 20;
    let cache = open(dir.path(), size).await;
    for round in 0..20 {
        fill(&cache, round * 50..(round + 1) * 50).await;
        assert_eq!(held(&cache, 0..3).await, [0, 1, 2], "round {round}");
        assert!(
            bytes_in(dir.path()) <= size + size / 20,
            "{}",
            bytes_in(dir.path())
        );
    }
    assert!(held(&cache, 3..500).await.is_empty());
    assert!(held(&cache, 950..1000).await.len() > 40);
    close(cache).await;
    // A smaller one makes room at once.
    let cache = open(dir.path(), size / 2).await;
    assert!(bytes_in(dir.path()) <= size / 2);
    assert!(!held(&cache, 900..1000).await.is_empty());
}

#[tokio::test]
async fn what_is_torn_stale_or_changed_is_merely_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), 4 << 20).await;
    fill(&cache, 0..50).await;
    // Changed under a running gateway.
    let first = files(dir.path(), ".frames").remove(0);
    let mut bytes = std::fs::read(&first).unwrap();
    bytes[25_000] ^= 1;
    std::fs::write(&first, &bytes).unwrap();
    assert_eq!(held(&cache, 0..50).await.len(), 49);
    // And it is kept anew.
    fill(&cache, 0..50).await;
    assert_eq!(held(&cache, 0..50).await.len(), 50);
    close(cache).await;
    let cases: [&dyn Fn(&Path); 5] = [
        &|file| std::fs::write(file, b"").unwrap(),
        &|file| {
            let bytes = std::fs::read(file).unwrap();
            std::fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
        },
        &|file| std::fs::write(file, vec![0; 100_000]).unwrap(),
        &|file| std::fs::write(file, vec![0xff; 1000]).unwrap(),
        &|file| std::fs::remove_file(file).unwrap(),
    ];
    for case in cases {
        for suffix in [".frames", ".table"] {
            if let Some(file) = files(dir.path(), suffix).first() {
                case(file);
            }
            let cache = open(dir.path(), 4 << 20).await;
            held(&cache, 0..60).await;
            fill(&cache, 0..60).await;
            assert_eq!(held(&cache, 0..60).await.len(), 60);
            close(cache).await;
        }
    }
    // A folder that vanishes under it costs nothing but its frames.
    let cache = open(dir.path(), 4 << 20).await;
    std::fs::remove_dir_all(dir.path()).unwrap();
    fill(&cache, 100..400).await;
    held(&cache, 0..400).await;
}
