//! gRPC: a real client and a real server, the endpoint in the metadata.

use tonic::Code;
use tonic_health::{pb::health_server::HealthServer, server::health_reporter};

use crate::support::{gate::gate, receiver::Received, rig::Rig};

#[path = "support/grpc.rs"]
mod grpc;
mod support;

use grpc::{SERVING, asking, client, layer, serve, serving};

fn expect_grpc(webhook: &Received, body: &[u8], status: &str) {
    assert_eq!(webhook.body, body);
    assert_eq!(webhook.header("content-type"), "application/grpc");
    assert_eq!(webhook.header("content-length"), body.len().to_string());
    assert_eq!(webhook.header("x-webhook-response-status"), "200");
    assert_eq!(webhook.header("grpc-status"), status);
}

#[tokio::test]
async fn a_unary_call_has_its_status_in_the_trailers() {
    let mut rig = Rig::new().await;
    let (_reporter, service) = health_reporter();
    let (server, _) = serve(service, layer(&rig)).await;
    let answer = client(server).await.check(asking(&rig, "")).await.unwrap();
    // The client takes the trailers for metadata, too: they are all there.
    assert_eq!(answer.metadata().get("grpc-status").unwrap(), "0");
    assert_eq!(answer.into_inner(), serving());
    expect_grpc(&rig.receiver.next().await, SERVING, "0");
    rig.expect_delivered().await;
}

#[tokio::test]
async fn a_failed_call_has_its_status_in_the_head() {
    let mut rig = Rig::new().await;
    let (_reporter, service) = health_reporter();
    let (server, _) = serve(service, layer(&rig)).await;
    let status = client(server)
        .await
        .check(asking(&rig, "none"))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let webhook = rig.receiver.next().await;
    expect_grpc(&webhook, b"", "5");
    assert_eq!(
        percent_decoded(webhook.header("grpc-message")),
        status.message()
    );
    rig.expect_delivered().await;
}

#[tokio::test]
async fn a_stream_that_fails_has_its_status_in_the_trailers() {
    let mut rig = Rig::new().await;
    let (gate, mut keeper) = gate();
    let service = HealthServer::new(grpc::GatedHealth(gate));
    let (server, _) = serve(service, layer(&rig)).await;
    let answer = client(server).await.watch(asking(&rig, "")).await.unwrap();
    let mut messages = answer.into_inner();
    assert_eq!(messages.message().await.unwrap(), Some(serving()));
    // The first one was seen before the second one was made.
    keeper.arrival().await;
    keeper.open();
    assert_eq!(messages.message().await.unwrap(), Some(serving()));
    let status = messages.message().await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::DataLoss, "bits, gone: 1%")
    );
    let webhook = rig.receiver.next().await;
    expect_grpc(&webhook, &SERVING.repeat(2), "15");
    assert_eq!(
        percent_decoded(webhook.header("grpc-message")),
        status.message()
    );
    rig.expect_delivered().await;
}

#[tokio::test]
async fn trailers_reach_the_client_whole() {
    let mut rig = Rig::new().await;
    let (gate, keeper) = gate();
    keeper.open();
    let service = HealthServer::new(grpc::GatedHealth(gate));
    let (server, _) = serve(service, layer(&rig)).await;
    let mut with_webhook = client(server).await.watch(asking(&rig, "")).await.unwrap();
    let mut without = client(server).await.watch(plain()).await.unwrap();
    for answer in [&mut with_webhook, &mut without] {
        while let Ok(Some(_)) = answer.get_mut().message().await {}
    }
    let trailers = with_webhook.get_mut().trailers().await;
    let expected = without.get_mut().trailers().await;
    assert_eq!(format!("{trailers:?}"), format!("{expected:?}"));
    rig.receiver.next().await;
    rig.expect_delivered().await;
}

#[tokio::test]
async fn a_call_without_the_metadata_is_no_webhook() {
    let mut rig = Rig::new().await;
    let (_reporter, service) = health_reporter();
    let (server, _) = serve(service, layer(&rig)).await;
    let answer = client(server).await.check(plain()).await.unwrap();
    assert_eq!(answer.into_inner(), serving());
    rig.expect_no_more(0).await;
}

fn plain() -> tonic::Request<tonic_health::pb::HealthCheckRequest> {
    tonic::Request::new(tonic_health::pb::HealthCheckRequest::default())
}

fn percent_decoded(text: &str) -> String {
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8();
    decoded.unwrap().into_owned()
}
