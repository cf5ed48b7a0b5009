//! Conversions between our types and the driver's.

use std::{
    error::Error,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::{BufMut, BytesMut};
use http::StatusCode;
use tokio_postgres::types::{FromSql, IsNull, Timestamp, ToSql, Type, to_sql_checked};
use tower_webhook::{DeliveryId, Payload, event::FailReason};

type Failure = Box<dyn Error + Sync + Send>;

/// A delivery id, as a `uuid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SqlId(pub(crate) DeliveryId);

impl ToSql for SqlId {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
        out.put_slice(&self.0.to_bytes());
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::UUID
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for SqlId {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Failure> {
        Ok(Self(DeliveryId::from_bytes(raw.try_into()?)))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::UUID
    }
}

/// A payload, as a `bytea`. Segments are written to the message buffer directly.
#[derive(Debug)]
pub(crate) struct Body<'a>(pub(crate) &'a Payload);

impl ToSql for Body<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
        out.reserve(self.0.len());
        self.0.segments().for_each(|segment| out.put_slice(segment));
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::BYTEA
    }

    to_sql_checked!();
}

/// The end of the year 9999.
const LATEST: Duration = Duration::from_secs(253_402_300_799);

/// Clamps a time to the range that `timestamptz` and [`SystemTime`] share.
pub(crate) fn storable(time: SystemTime) -> SystemTime {
    time.clamp(UNIX_EPOCH, UNIX_EPOCH + LATEST)
}

/// A time of the server, in the same range. A row that somebody has edited may have an infinite one.
pub(crate) fn time_from(time: Timestamp<SystemTime>) -> SystemTime {
    match time {
        Timestamp::NegInfinity => UNIX_EPOCH,
        Timestamp::PosInfinity => UNIX_EPOCH + LATEST,
        Timestamp::Value(time) => storable(time),
    }
}

/// Whole milliseconds, at most 100 years, so that adding them to a timestamp cannot overflow.
pub(crate) fn to_ms(time: Duration) -> i64 {
    const MOST: i64 = 100 * 365 * 86_400_000;
    i64::try_from(time.as_millis()).map_or(MOST, |ms| ms.min(MOST))
}

/// `None` for a number that is no status: columns are not trusted.
pub(crate) fn status_from(status: Option<i32>) -> Option<StatusCode> {
    let status = status.and_then(|status| u16::try_from(status).ok());
    status.and_then(|status| StatusCode::from_u16(status).ok())
}

/// `None` for a name that is not known, as of a newer version.
pub(crate) fn failure_from(name: Option<&str>) -> Option<FailReason> {
    name.and_then(FailReason::from_name)
}

/// Saturates at [`i64::MAX`].
pub(crate) fn to_i64(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_out_of_range_are_brought_into_it() {
        let before = UNIX_EPOCH - Duration::from_secs(5);
        assert_eq!(storable(before), UNIX_EPOCH);
        let after = UNIX_EPOCH + LATEST * 2;
        assert_eq!(storable(after), UNIX_EPOCH + LATEST);
        assert_eq!(to_ms(Duration::MAX), 3_153_600_000_000);
        assert_eq!(to_ms(Duration::from_micros(1_999)), 1);
    }
}
