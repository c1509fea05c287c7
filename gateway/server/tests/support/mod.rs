//! What several of the test programs share: gateways as processes, on a real Garage, and what is pushed to them.

pub(crate) mod authority;
pub(crate) mod program;
pub(crate) mod town;
pub(crate) mod wares;

/// What `hayloft-gateway token` is told for one that may push to the cache `main` and pull from it.
pub(crate) const FOR_MAIN: [&str; 8] = [
    "--sub",
    "ci",
    "--validity",
    "1y",
    "--pull",
    "main",
    "--push",
    "main",
];

/// A port that nothing listens on, and that no connection takes while its server is stopped.
pub(crate) fn free_port() -> u16 {
    hayloft_garage_fixture::free_port().unwrap()
}
