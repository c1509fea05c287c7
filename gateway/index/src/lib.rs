//! The index over the log: everything here can be made again from the bucket.
