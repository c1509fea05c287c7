//! Who is calling, and what may they do. A handler gets at data only through what this room hands out.

mod access;
mod header;

pub(crate) use access::Caller;
