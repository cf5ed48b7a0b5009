use bytes::BytesMut;
use http::HeaderValue;

/// Makes the header values of one attempt in one buffer: they are created and dropped together.
pub(super) struct Values(BytesMut);

impl Values {
    /// The capacity for the numbers and both signatures, in bytes.
    const LEN: usize = 192;

    /// With capacity for ids of this total length as well.
    pub(super) fn new(id: usize) -> Self {
        Self(BytesMut::with_capacity(Self::LEN + id))
    }

    pub(super) fn number(&mut self, number: u64) -> HeaderValue {
        self.ascii(itoa::Buffer::new().format(number).as_bytes())
    }

    pub(super) fn ascii(&mut self, text: &[u8]) -> HeaderValue {
        self.0.extend_from_slice(text);
        self.done()
    }

    /// Adds this to the value that [`done`](Self::done) makes, after a space where there is something.
    pub(super) fn add(&mut self, text: &[u8]) {
        if !self.0.is_empty() {
            self.0.extend_from_slice(b" ");
        }
        self.0.extend_from_slice(text);
    }

    pub(super) fn done(&mut self) -> HeaderValue {
        let text = self.0.split().freeze();
        HeaderValue::from_maybe_shared(text).expect("it is visible ASCII")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_its_own() {
        let mut values = Values::new(0);
        let long = [b'x'; 2 * Values::LEN];
        let made = [
            values.number(0),
            values.ascii(b"v1,"),
            {
                values.add(b"v1,");
                values.add(b"v1a,");
                values.done()
            },
            values.ascii(&long),
            values.number(u64::MAX),
        ];
        drop(values);
        assert_eq!(made[0], "0");
        assert_eq!(made[1], "v1,");
        assert_eq!(made[2], "v1, v1a,");
        assert_eq!(made[3].as_bytes(), long);
        assert_eq!(made[4], "18446744073709551615");
    }
}
