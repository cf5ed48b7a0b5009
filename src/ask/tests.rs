use http::HeaderValue;

use super::*;
use crate::endpoint::{Endpoint, EndpointPolicy};

fn reader() -> Reader {
    Reader {
        endpoint_parameter: Parameter::new("webhookEndpoint"),
        endpoint_header: Some(HeaderName::from_static("x-webhook-endpoint")),
        secret_header: HeaderName::from_static("x-webhook-secret"),
        secret_required: false,
    }
}

fn get(target: &str, headers: &[(&'static str, &[u8])]) -> Request<()> {
    let mut request = Request::get(target).body(()).unwrap();
    for (name, value) in headers {
        let value = HeaderValue::from_bytes(value).unwrap();
        request.headers_mut().append(*name, value);
    }
    request
}

fn read(request: &mut Request<()>) -> Result<Ask<Endpoint>, Problem> {
    read_with(&reader(), request).expect("it is asked")
}

fn read_with(reader: &Reader, request: &mut Request<()>) -> Option<Result<Ask<Endpoint>, Problem>> {
    let check = |text: &str| EndpointPolicy::public().check(text);
    let endpoint = reader.endpoint(request, &RecentEndpoints::new(), check)?;
    reader.ask(request, endpoint)
}

fn is_asked(mut request: Request<()>) -> bool {
    read_with(&reader(), &mut request).is_some()
}

const ASKED: &str = "/?a=1&webhookEndpoint=https%3A%2F%2Fexample.com%2Fhook%3Fa%3D1%26b";

#[test]
fn reads_an_encoded_endpoint() {
    let wish = read(&mut get(ASKED, &[])).unwrap();
    assert_eq!(wish.endpoint.uri(), "https://example.com/hook?a=1&b");
    assert!(wish.secret.is_none());
}

#[test]
fn reads_an_endpoint_as_people_type_it() {
    let target = "/?webhookEndpoint=https://example.com/hook";
    let wish = read(&mut get(target, &[])).unwrap();
    assert_eq!(wish.endpoint.uri(), "https://example.com/hook");
}

/// It never carries the secret, and a browser needs its 2xx.
#[test]
fn a_preflight_asks_for_nothing() {
    let origin = ("origin", &b"https://page.example"[..]);
    let method = ("access-control-request-method", &b"POST"[..]);
    let preflight = |target: &str, headers: &[(&'static str, &[u8])], method: Method| {
        let mut request = get(target, headers);
        *request.method_mut() = method;
        request
    };
    for target in [ASKED, "/?webhookEndpoint=http://10.0.0.1/"] {
        let request = preflight(target, &[origin, method], Method::OPTIONS);
        assert!(!is_asked(request));
    }
    let endpoint = ("x-webhook-endpoint", &b"https://a.example/"[..]);
    let in_header = preflight("/", &[origin, method, endpoint], Method::OPTIONS);
    assert!(!is_asked(in_header));
    for (headers, method) in [
        (&[origin, method][..], Method::POST),
        (&[origin], Method::OPTIONS),
        (&[method], Method::OPTIONS),
        (&[], Method::OPTIONS),
    ] {
        assert!(is_asked(preflight(ASKED, headers, method)));
    }
}

#[test]
fn an_encoded_name_is_the_same_name() {
    for name in ["%77ebhookEndpoint", "webhookEndpoin%74"] {
        let target = format!("/?a=1&{name}=https://example.com/");
        assert!(read(&mut get(&target, &[])).is_ok(), "{name}");
    }
    let target = "/?webhook%45ndpoint=https://example.com/";
    assert!(read(&mut get(target, &[])).is_ok());
    assert!(!is_asked(get(
        "/?webhook+Endpoint=https://example.com/",
        &[]
    )));
    assert!(!is_asked(get(
        "/?webhookendpoint=https://example.com/",
        &[]
    )));
}

#[test]
fn an_endpoint_must_be_given_once_and_be_acceptable() {
    let twice = "/?webhookEndpoint=https://a.example/&webhookEndpoint=https://a.example/";
    assert_eq!(
        read(&mut get(twice, &[])).unwrap_err(),
        Problem::EndpointTwice
    );
    let both = [("x-webhook-endpoint", &b"https://a.example/"[..])];
    assert_eq!(
        read(&mut get(ASKED, &both)).unwrap_err(),
        Problem::EndpointTwice
    );
    for target in ["/?webhookEndpoint", "/?webhookEndpoint="] {
        assert_eq!(
            read(&mut get(target, &[])).unwrap_err(),
            Problem::EndpointEmpty
        );
    }
    let unreadable = "/?webhookEndpoint=%ff";
    assert_eq!(
        read(&mut get(unreadable, &[])).unwrap_err(),
        Problem::EndpointUnreadable
    );
    for refused in [
        "http://example.com/",
        "https://127.0.0.1/",
        "https://a%20b/",
        "hook",
    ] {
        let target = format!("/?webhookEndpoint={refused}");
        let problem = read(&mut get(&target, &[])).unwrap_err();
        assert!(matches!(problem, Problem::Endpoint(_)), "{refused}");
    }
}

#[test]
fn a_header_can_name_the_endpoint() {
    let headers = [("x-webhook-endpoint", &b"https://example.com/hook"[..])];
    let wish = read(&mut get("/", &headers)).unwrap();
    assert_eq!(wish.endpoint.uri(), "https://example.com/hook");
}

#[test]
fn a_secret_is_raw_bytes_and_is_marked() {
    let mut request = get(ASKED, &[("x-webhook-secret", b"whsec_\xff\xe9 x")]);
    let wish = read(&mut request).unwrap();
    assert_eq!(wish.secret.unwrap().expose(), b"whsec_\xff\xe9 x");
    assert!(request.headers()["x-webhook-secret"].is_sensitive());
}

#[test]
fn a_secret_must_be_one_and_of_a_sane_length() {
    let longest = [b'x'; MAX_SECRET];
    assert!(read(&mut get(ASKED, &[("x-webhook-secret", &longest)])).is_ok());
    let long = [b'x'; MAX_SECRET + 1];
    for (secret, problem) in [
        (&b""[..], Problem::SecretEmpty),
        (&long[..], Problem::SecretTooLong),
    ] {
        let headers = [("x-webhook-secret", secret)];
        assert_eq!(read(&mut get(ASKED, &headers)).unwrap_err(), problem);
    }
    let twice = [("x-webhook-secret", &b"a"[..]), ("x-webhook-secret", b"b")];
    let mut request = get(ASKED, &twice);
    assert_eq!(read(&mut request).unwrap_err(), Problem::SecretTwice);
    let values = request.headers().get_all("x-webhook-secret");
    assert!(values.iter().all(HeaderValue::is_sensitive));
}

#[test]
fn a_required_secret_is_missed() {
    let mut strict = reader();
    strict.secret_required = true;
    let read = read_with(&strict, &mut get(ASKED, &[])).unwrap();
    assert_eq!(read.unwrap_err(), Problem::SecretMissing);
}

#[test]
fn an_id_is_kept_when_it_can_be_signed() {
    let kept = read(&mut get(ASKED, &[("x-request-id", b"run_1")])).unwrap();
    assert_eq!(kept.request_id.unwrap().as_str(), "run_1");
    for id in [&b"a.b"[..], b"", b"\xff"] {
        let fresh = read(&mut get(ASKED, &[("x-request-id", id)])).unwrap();
        assert_eq!(fresh.request_id, None);
    }
}

#[test]
fn a_delivery_that_asks_again_is_a_loop() {
    for header in [
        ("x-webhook-loop", &b"1"[..]),
        ("user-agent", b"tower-webhook/0.0.9"),
    ] {
        assert_eq!(read(&mut get(ASKED, &[header])).unwrap_err(), Problem::Loop);
    }
}

#[test]
fn upgrades_and_tunnels_are_never_a_webhook() {
    let upgrade = [
        ("connection", &b"keep-alive, Upgrade"[..]),
        ("upgrade", b"websocket"),
    ];
    assert!(!is_asked(get(ASKED, &upgrade)));
    let h2c = [("connection", &b"Upgrade"[..]), ("upgrade", b"h2c")];
    assert!(is_asked(get(ASKED, &h2c)));
    let mut connect = get(ASKED, &[]);
    *connect.method_mut() = Method::CONNECT;
    assert!(!is_asked(connect));
}
