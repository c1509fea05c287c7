//! Real Garage daemons on loopback, for tests.
