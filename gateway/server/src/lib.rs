//! hayloft-gateway: router, authentication, one file per endpoint, and the depot behind them.
