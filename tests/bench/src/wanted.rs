//! What Hayloft promises.

use crate::results::Bound::{AtLeast, AtMost, AtMostMore, Limit};
use crate::results::{Bound, Wanted};

const fn want(row: &'static str, against: &'static str, bound: Bound) -> Wanted {
    Wanted {
        row,
        column: "hayloft",
        against,
        bound,
    }
}

/// The promises, row by row.
pub const WANTED: &[Wanted] = &[
    want("push", "atticd", AtLeast(5.0)),
    want("pull, cold", "atticd", AtLeast(15.0)),
    want("pull, cold", "raw client", AtLeast(0.8)),
    want("pull of the rebuild, cold", "first version", AtLeast(0.9)),
    want("pull, hot", "nginx", AtLeast(0.8)),
    want("big NAR, push", "atticd", AtLeast(5.0)),
    want("big NAR, pull, cold", "atticd", AtLeast(10.0)),
    want("narinfo, hits", "atticd", AtLeast(8.0)),
    want("narinfo, misses", "atticd", AtLeast(8.0)),
    want("narinfo p99 beside a pull", "", Limit(5.0)),
    want("stored, first version", "atticd", AtMost(1.1)),
    want("stored more, second version", "atticd", AtMost(1.1)),
    want("stored more, mass rebuild", "atticd", AtMost(0.1)),
    want("memory, 64 uploads", "", Limit(300.0)),
    want("memory, 64 pulls", "", Limit(300.0)),
    want("one 10 KB path", "Garage PUT", AtMostMore(100.0)),
    want("5 million paths: push", "empty index", AtLeast(0.8)),
    want("5 million paths: narinfo hits", "empty index", AtLeast(0.8)),
    want("5 million paths: narinfo misses", "empty index", AtLeast(0.8)),
    want("5 million paths: start to first answer", "", Limit(5.0)),
    want("5 million paths: memory", "", Limit(1000.0)),
];
