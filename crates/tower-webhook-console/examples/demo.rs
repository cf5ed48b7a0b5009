//! A console to look at, with deliveries to endpoints that are made up: `cargo run --example demo`, then
//! <http://127.0.0.1:3000/webhooks>.

use std::time::Duration;

use axum::{Router, body::Body, routing::post};
use http::{Request, Response, StatusCode, header::CONTENT_TYPE};
use tower::{ServiceExt, service_fn};
use tower_webhook::{
    BoxError, Dispatcher, EndpointPolicy, Payload, RequestId, RetryPolicy, WebhookLayer,
    delivery::DeliveryParts, event::FailReason, outbox::MemoryOutbox,
};
use tower_webhook_console::{Access, ConsoleEvents, console};

/// Hosts, and how they behave.
const HOSTS: &[(&str, Manner)] = &[
    ("hooks.shop.example.com", Manner::Good),
    ("events.billing.example.org", Manner::Good),
    ("ci.example.net", Manner::Slow),
    ("api.partner-of-a-partner.example.org", Manner::Flaky),
    ("old-receiver.example.com", Manner::Broken),
    ("gone.example.net", Manner::Gone),
];

#[derive(Clone, Copy)]
enum Manner {
    Good,
    Slow,
    Flaky,
    Broken,
    Gone,
}

/// Stands in for the network.
async fn receive(request: Request<Payload>) -> Result<Response<String>, BoxError> {
    let host = request.uri().host().unwrap_or_default();
    let manner = HOSTS.iter().find(|(name, _)| *name == host);
    let chance = getrandom::u32()? % 100;
    let quick = Duration::from_millis(u64::from(20 + chance));
    let (pause, status) = match manner.map(|(_, manner)| *manner) {
        Some(Manner::Good) if chance < 98 => (quick, Some(204)),
        Some(Manner::Slow) => (quick * 12, Some(200)),
        Some(Manner::Flaky) if chance < 60 => (quick * 3, Some(200)),
        Some(Manner::Broken) => (quick, Some(500)),
        Some(Manner::Gone) => (quick, None),
        _ => (quick * 2, Some(503)),
    };
    tokio::time::sleep(pause).await;
    let mut response = Response::new(String::new());
    *response.status_mut() = StatusCode::from_u16(status.ok_or("no route to the host")?)?;
    Ok(response)
}

async fn deliver(dispatcher: &Dispatcher, number: u32) -> Result<(), BoxError> {
    let host = match getrandom::u32()? % 100 {
        0..50 => HOSTS[0].0,
        50..75 => HOSTS[1].0,
        75..86 => HOSTS[2].0,
        86..95 => HOSTS[3].0,
        95..98 => HOSTS[4].0,
        _ => HOSTS[5].0,
    };
    let url = format!("https://{host}/hook");
    let endpoint = EndpointPolicy::public().check(&url)?;
    let text = format!(
        r#"{{"order":{number},"state":"paid","items":[{{"sku":"A-{}","count":2}}],"note":"<b>not bold</b>"}}"#,
        number % 97
    );
    let mut parts = DeliveryParts::new(endpoint, bytes::Bytes::from(text).into());
    parts.request_id = RequestId::parse(&format!("order-{number}")).ok_or("no id")?;
    parts.status = Some(StatusCode::OK);
    let json = http::HeaderValue::from_static("application/json");
    parts.headers.push((CONTENT_TYPE, json));
    if number.is_multiple_of(41) {
        parts.status = None;
        parts.failure = Some(FailReason::TimedOut);
    }
    dispatcher.deliver(parts).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let events = ConsoleEvents::new();
    let dispatcher = Dispatcher::builder_with_client(service_fn(receive))
        .with_outbox(MemoryOutbox::new().with_history_payloads())
        .with_retry_policy(RetryPolicy::patient().with_delays([3, 10, 20].map(Duration::from_secs)))
        .on_event(events.subscriber())
        .build();

    // In production this asks for a session or a header that a proxy sets.
    let everybody_on_this_machine = Access::left_to_others();
    let console = console(&dispatcher, everybody_on_this_machine)
        .with_events(&events)
        .with_actions();
    let long = post(|| async {
        tokio::time::sleep(Duration::from_secs(40)).await;
        "done"
    });
    let layer = WebhookLayer::for_dispatcher(dispatcher.clone()).with_async_requests();
    let runs = Router::new().route("/run", long).layer(layer);
    let app = runs.clone().nest_service("/webhooks", console);

    tokio::spawn(async move {
        for number in 10_000.. {
            if let Err(error) = deliver(&dispatcher, number).await {
                eprintln!("{error}");
            }
            if number.is_multiple_of(60) {
                let uri = "/run?async=true&webhookEndpoint=https%3A%2F%2Fci.example.net%2Fdone";
                let call = Request::post(uri).body(Body::empty());
                if let Ok(call) = call {
                    drop(runs.clone().oneshot(call).await);
                }
            }
            let pause = 150 + getrandom::u32().unwrap_or(0) % 700;
            tokio::time::sleep(Duration::from_millis(u64::from(pause))).await;
        }
    });
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("http://{}/webhooks", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
