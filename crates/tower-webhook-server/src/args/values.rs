//! Values that more than one option has.

use std::time::Duration;

pub(crate) fn path(text: &str) -> Result<String, &'static str> {
    let is_of_path = |byte: u8| byte.is_ascii_graphic() && !b"?#".contains(&byte);
    match text.starts_with('/') && text.bytes().all(is_of_path) {
        true => Ok(text.to_owned()),
        false => Err("must be a path, such as /webhooks"),
    }
}

pub(crate) fn path_without_slash(text: &str) -> Result<String, &'static str> {
    let text = path(text)?;
    match text.trim_end_matches('/') {
        "" => Err("must be more than a slash, such as /webhooks"),
        path => Ok(path.to_owned()),
    }
}

pub(crate) fn longer_than_nothing(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("must be longer than that".to_owned()),
        parsed => parsed.map_err(|error| error.to_string()),
    }
}

/// The memory for all webhooks under way: a larger body could never be admitted.
const MAX_BODY: usize = 1 << 30;

pub(crate) fn size(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match text[digits.len()..].trim() {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err("must be a number of B, KiB, MiB or GiB, such as 4MiB".to_owned()),
    };
    let number: usize = digits
        .parse()
        .map_err(|_| "must begin with a number, such as 4MiB".to_owned())?;
    number
        .checked_mul(1 << shift)
        .filter(|bytes| *bytes <= MAX_BODY)
        .ok_or_else(|| "must be 1GiB at most".to_owned())
}

/// One at least.
pub(crate) fn number(text: &str) -> Result<usize, &'static str> {
    match text.parse() {
        Ok(0) | Err(_) => Err("must be a number, at least 1"),
        Ok(number) => Ok(number),
    }
}
