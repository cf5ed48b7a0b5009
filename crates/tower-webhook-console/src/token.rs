/// Random, unguessable, and the same in every clone of a console: a page that was given it may act.
#[derive(Clone)]
pub(crate) struct Token(String);

impl Token {
    pub(crate) fn fresh() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(hex(&bytes)))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes the same time wherever the two differ.
    pub(crate) fn is(&self, given: &[u8]) -> bool {
        let ours = self.0.as_bytes();
        let differing = ours
            .iter()
            .zip(given)
            .fold(0, |bits, (a, b)| bits | (a ^ b));
        ours.len() == given.len() && std::hint::black_box(differing) == 0
    }
}

/// For one page's Content-Security-Policy.
pub(crate) fn nonce() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(hex(&bytes))
}

/// In lower case, without anything between.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let digits = |&byte: &u8| [byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]);
    bytes.iter().flat_map(digits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_is_it() {
        let token = Token::fresh().unwrap();
        let text = token.as_str().to_owned();
        assert_eq!(text.len(), 64);
        assert!(token.is(text.as_bytes()));
        for other in [
            "",
            &text[1..],
            &format!("{text}0"),
            Token::fresh().unwrap().as_str(),
        ] {
            assert!(!token.is(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn hex_is_two_digits_a_byte() {
        assert_eq!(hex(&[0, 9, 10, 255]), "00090aff");
    }
}
