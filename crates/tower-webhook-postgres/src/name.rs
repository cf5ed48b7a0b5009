use crate::{PostgresOutboxError, PostgresOutboxErrorKind as Kind};

/// A schema name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SchemaName(String);

impl SchemaName {
    /// Refuses names that PostgreSQL would truncate or reserves.
    pub(crate) fn new(name: &str) -> Result<Self, PostgresOutboxError> {
        let is_fine = (1..=63).contains(&name.len())
            && !name.contains('\0')
            && !name.to_ascii_lowercase().starts_with("pg_");
        match is_fine {
            true => Ok(Self(name.to_owned())),
            false => Err(Kind::InvalidSchemaName.into()),
        }
    }

    /// The unquoted name.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as a quoted SQL identifier.
    pub(crate) fn quoted(&self) -> String {
        format!("\"{}\"", self.0.replace('"', "\"\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_quoted_whatever_is_in_it() {
        let odd = SchemaName::new(r#"a"; DROP TABLE x; --é"#).unwrap();
        assert_eq!(odd.quoted(), r#""a""; DROP TABLE x; --é""#);
        assert_eq!(odd.as_str(), r#"a"; DROP TABLE x; --é"#);
    }

    #[test]
    fn what_postgresql_would_cut_or_refuse_is_refused() {
        let long = "x".repeat(64);
        for name in ["", "a\0b", "pg_x", "PG_x", &long] {
            let error = SchemaName::new(name).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidSchemaName, "{name:?}");
        }
        assert!(SchemaName::new(&long[1..]).is_ok());
    }
}
