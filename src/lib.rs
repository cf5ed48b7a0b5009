//! A Tower layer that calls back.
#![forbid(unsafe_code)]
