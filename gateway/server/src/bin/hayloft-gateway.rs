//! `hayloft-gateway`, for those who want only the gateway.

fn main() {}
