//! What a receiver accepts, and why it says that it does not.

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue};
use tower_webhook::{
    Verifier,
    delivery::Brand,
    verify::{VerifyError, VerifyErrorKind::*},
};

use crate::signed::*;

#[path = "support/signed.rs"]
mod signed;

#[test]
fn each_header_is_needed_once() {
    for (form, (names, values)) in FORMS.into_iter().enumerate() {
        for (name, value) in names.into_iter().zip(values) {
            let mut missing = good(form);
            missing.remove(name);
            assert_eq!(judge(&missing), Err(MissingHeader), "{name}");

            let mut twice = good(form);
            twice.append(name, value.parse().unwrap());
            assert_eq!(judge(&twice), Err(DuplicateHeader), "{name}");
        }
    }
    assert_eq!(judge(&HeaderMap::new()), Err(MissingHeader));
}

#[test]
fn malformed_headers() {
    let long = "x".repeat(129);
    let ids = ["", "a.b", "a b", "ä", &long];
    let timestamps = [
        "",
        "-1",
        "+1700000000",
        "01700000000",
        "1e9",
        "18446744073709551616",
        "ä",
    ];
    let upper = HEX.replace("cb3ddc", "CB3DDC");
    let listed = format!("{HEX} {HEX}");
    let signatures = [
        "", "v1", "v1,", "v1,AAAA", "v2,AAAA", "V1,AAAA", "ä", &upper, &listed,
    ];
    for (form, (names, _)) in FORMS.into_iter().enumerate() {
        for (name, values) in names.into_iter().zip([&ids[..], &timestamps, &signatures]) {
            for value in values {
                let mut headers = good(form);
                headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
                assert_eq!(judge(&headers), Err(MalformedHeader), "{name}: {value:?}");
            }
        }
    }
}

#[test]
fn any_of_several_signatures() {
    for (list, accepted) in [
        (format!("{OTHER} {BASE64}"), true),
        (format!("{BASE64} {OTHER}"), true),
        (
            format!("v1a,AAAA v2,x  rubbish v1, v1,AAAA {BASE64} "),
            true,
        ),
        (format!("{OTHER} {OTHER}"), false),
        (format!("v2,{} {OTHER}", &BASE64[3..]), false),
    ] {
        let headers = headers(STANDARD.into_iter().zip([ID, "1700000000", &*list]));
        let expected = if accepted {
            Ok(ID.to_owned())
        } else {
            Err(NoMatch)
        };
        assert_eq!(
            judge(&headers).map(|verified| verified.id().to_owned()),
            expected,
            "{list}"
        );
    }
}

#[test]
fn tolerance_goes_both_ways_to_the_nanosecond() {
    let judge = |tolerance: Option<Duration>, now| {
        let verifier = Verifier::new(SECRET);
        let verifier = match tolerance {
            Some(tolerance) => verifier.with_tolerance(tolerance),
            None => verifier,
        };
        let kind = |error: VerifyError| error.kind();
        verifier
            .verify_at(&good(0), BODY, now)
            .map(drop)
            .map_err(kind)
    };
    let nanosecond = Duration::from_nanos(1);
    for (tolerance, seconds) in [
        (None, 300),
        (Some(Duration::ZERO), 0),
        (Some(Duration::from_secs(7)), 7),
    ] {
        let (earliest, latest) = (at(SENT - seconds), at(SENT + seconds));
        assert_eq!(judge(tolerance, earliest), Ok(()));
        assert_eq!(judge(tolerance, latest), Ok(()));
        assert_eq!(
            judge(tolerance, earliest - nanosecond),
            Err(TimestampInFuture)
        );
        assert_eq!(judge(tolerance, latest + nanosecond), Err(TimestampTooOld));
    }
    for now in [UNIX_EPOCH - Duration::from_secs(1 << 40), at(1 << 40)] {
        assert_eq!(judge(Some(Duration::MAX), now), Ok(()));
    }
}

#[test]
fn timestamps_that_no_clock_can_hold() {
    for (form, (names, _)) in FORMS.into_iter().enumerate() {
        for seconds in [
            u64::MAX,
            i64::MAX.unsigned_abs() + 1,
            i64::MAX.unsigned_abs(),
        ] {
            let mut headers = good(form);
            headers.insert(names[1], seconds.into());
            assert_eq!(judge(&headers), Err(TimestampInFuture), "{seconds}");
        }
    }
}

#[test]
fn secrets_can_be_rotated() {
    let judge = |verifier: Verifier| verifier.verify_at(&good(1), BODY, at(SENT)).is_ok();
    assert!(judge(Verifier::new("new").with_secret(SECRET)));
    assert!(judge(Verifier::new(SECRET).with_secret("old")));
    let spelled = "whsec_YS12YWx1ZS1vZi15b3VyLWNob2ljZQ==";
    assert!(judge(
        Verifier::new("new").with_standard_secret(spelled).unwrap()
    ));
    assert!(!judge(Verifier::new("new").with_secret("old")));
    assert!(Verifier::new("new").with_standard_secret(SECRET).is_err());
}

#[test]
fn another_brands_headers_do_not_count() {
    let verifier = Verifier::new(SECRET).with_brand(Brand::new("Acme").unwrap());
    let error = verifier.verify_at(&good(0), BODY, at(SENT)).unwrap_err();
    assert_eq!(error.kind(), MissingHeader);
}

#[test]
fn debug_shows_no_secret() {
    let shown = format!("{:?}", Verifier::new(SECRET).with_secret("another-secret"));
    assert!(!shown.contains(SECRET) && !shown.contains("another"));
    let error = Verifier::new(SECRET).verify(&good(0), BODY).unwrap_err();
    assert_eq!(
        format!("{error:?}"),
        "VerifyError { kind: TimestampTooOld }"
    );
    assert_eq!(error.to_string(), "the timestamp is too old");
}
