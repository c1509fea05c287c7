//! Garage's admin API v2, garage.toml and node keys.
