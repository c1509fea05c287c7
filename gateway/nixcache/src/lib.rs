//! Store paths, hashes, narinfo, the NAR format, signatures, tokens and their scopes. Pure.
