//! The CacheCluster document, its rules, and what agents and the coordinator say to each other.
