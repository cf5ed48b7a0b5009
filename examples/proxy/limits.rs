//! How large a head may be, of calls and of answers alike.

/// Header lines on HTTP/1; hyper has 100, which cookies and tracing fill up.
pub(crate) const HEADER_LINES: usize = 1000;

/// The header section on HTTP/2, names and values and 32 more a line; hyper has 16 KiB.
pub(crate) const HEADER_BYTES: u32 = 256 << 10;
