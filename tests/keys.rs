//! The service's own keys: their file, and the set of the public ones.

use axum::{
    Router,
    body::{Body, to_bytes},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_webhook::{
    Dispatcher,
    delivery::{PublicKey, SigningKey},
};

/// The example of RFC 8037, appendix A.
const RFC_8037: &str = "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";

const PATH: &str = "/.well-known/jwks.json";

fn app(keys: &[SigningKey]) -> Router {
    let mut builder = Dispatcher::builder();
    for key in keys {
        builder = builder.with_signing_key(key.clone());
    }
    Router::new().route_service(PATH, tower_webhook::keys(&builder.build()))
}

async fn ask(app: &Router, method: Method, known: Option<&str>) -> (Response<()>, Vec<u8>) {
    let mut request = Request::builder().method(method).uri(PATH);
    if let Some(known) = known {
        request = request.header("if-none-match", known);
    }
    let request = request.body(Body::empty()).unwrap();
    let (head, body) = app.clone().oneshot(request).await.unwrap().into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    (Response::from_parts(head, ()), body.into())
}

#[tokio::test]
async fn the_set_has_each_key_as_the_rfcs_write_it() {
    let [old, new] = [RFC_8037.parse().unwrap(), SigningKey::from_bytes([7; 32])];
    let app = app(&[new.clone(), old]);
    let (head, body) = ask(&app, Method::GET, None).await;
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(head.headers()["content-type"], "application/jwk-set+json");
    assert_eq!(head.headers()["cache-control"], "public, max-age=3600");
    assert_eq!(head.headers()["content-length"], body.len().to_string());
    let set: Value = serde_json::from_slice(&body).unwrap();
    let [first, second] = set["keys"].as_array().unwrap().as_slice() else {
        panic!("{set}");
    };
    assert_eq!(
        *second,
        json!({
            "kty": "OKP",
            "crv": "Ed25519",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
            "use": "sig",
            "alg": "EdDSA",
        })
    );
    // What a receiver makes of it.
    let x = URL_SAFE_NO_PAD
        .decode(first["x"].as_str().unwrap())
        .unwrap();
    let read = PublicKey::from_bytes(x.try_into().unwrap()).unwrap();
    assert_eq!(read, new.public_key());
    assert_eq!(first["kid"], read.kid());
}

#[tokio::test]
async fn without_a_key_the_set_is_empty() {
    let (_, body) = ask(&app(&[]), Method::GET, None).await;
    assert_eq!(body, br#"{"keys":[]}"#);
}

#[tokio::test]
async fn it_is_only_read() {
    let app = app(&[RFC_8037.parse().unwrap()]);
    let (got, body) = ask(&app, Method::GET, None).await;
    let (head, none) = ask(&app, Method::HEAD, None).await;
    assert_eq!(head.headers(), got.headers());
    assert_eq!((head.status(), none.len()), (StatusCode::OK, 0));
    assert!(!body.is_empty());
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let (refused, body) = ask(&app, method, None).await;
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(refused.headers()["allow"], "GET, HEAD");
        assert!(body.is_empty());
    }
}

#[tokio::test]
async fn who_has_the_set_is_told_so() {
    let app = app(&[RFC_8037.parse().unwrap()]);
    let (got, _) = ask(&app, Method::GET, None).await;
    let etag = got.headers()["etag"].to_str().unwrap();
    let weak = format!("\"other\" , W/{etag}");
    for (known, status) in [
        (etag, StatusCode::NOT_MODIFIED),
        (&weak, StatusCode::NOT_MODIFIED),
        ("*", StatusCode::NOT_MODIFIED),
        ("\"other\"", StatusCode::OK),
        ("", StatusCode::OK),
        (etag.trim_matches('"'), StatusCode::OK),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let (answer, body) = ask(&app, method.clone(), Some(known)).await;
            assert_eq!(answer.status(), status, "{known}");
            assert_eq!(answer.headers()["etag"], etag);
            assert_eq!(answer.headers()["cache-control"], "public, max-age=3600");
            let has_body = status == StatusCode::OK && method == Method::GET;
            assert_eq!(!body.is_empty(), has_body);
        }
    }
}

/// Whatever the body of a request is.
#[tokio::test]
async fn any_request_will_do() {
    let keys = tower_webhook::keys(&Dispatcher::new());
    let answer = keys.clone().oneshot(Request::new(())).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let answer = keys.oneshot(Request::new(Body::empty())).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}

#[test]
fn a_key_file_is_made_once_and_for_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("signing.key");
    assert!(SigningKey::from_file(&path).is_err());
    let made = SigningKey::from_file_or_new(&path).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    for read in [
        SigningKey::from_file_or_new(&path).unwrap(),
        SigningKey::from_file(&path).unwrap(),
    ] {
        assert_eq!(read.public_key(), made.public_key());
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let parsed: SigningKey = text.trim_end().parse().unwrap();
    assert_eq!(parsed.public_key(), made.public_key());
    let another = SigningKey::from_file_or_new(folder.path().join("another")).unwrap();
    assert_ne!(another.public_key(), made.public_key());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn whoever_is_first_makes_the_key_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("signing.key");
    let make = || SigningKey::from_file_or_new(&path).unwrap().public_key();
    let keys = std::thread::scope(|scope| {
        let makers: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
        makers
            .into_iter()
            .map(|maker| maker.join().unwrap())
            .collect::<Vec<_>>()
    });
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn what_is_no_key_is_an_error_and_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("signing.key");
    let long = format!("{RFC_8037}\n{RFC_8037}");
    for contents in [
        "",
        "\n",
        "whsk_",
        "whsk_hush",
        "hush-hush",
        &long,
        &"a".repeat(1 << 20),
    ] {
        std::fs::write(&path, contents).unwrap();
        let error = SigningKey::from_file_or_new(&path).unwrap_err();
        let shown = format!("{error:?} {error}");
        assert!(
            !shown.contains("hush") && !shown.contains("signing.key"),
            "{shown}"
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), contents);
    }
    for contents in [
        RFC_8037.to_owned(),
        format!("{RFC_8037}\n"),
        format!("{RFC_8037}\r\n"),
    ] {
        std::fs::write(&path, contents).unwrap();
        SigningKey::from_file(&path).unwrap();
    }
    let error = SigningKey::from_file_or_new(folder.path().join("none/key")).unwrap_err();
    assert!(std::error::Error::source(&error).is_some());
}
