//! A gRPC service whose answers wait at a gate, and its client.

use std::{net::SocketAddr, pin::Pin};

use futures::{Stream, StreamExt, stream};
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    transport::{Channel, Server, server::TcpIncoming},
};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_client::HealthClient,
    health_server::{Health, HealthServer},
};
use tower_webhook::WebhookLayer;

use crate::support::{
    gate::Gate,
    let_go::{LetGo, letting_go},
    rig::Rig,
};

/// What goes over the wire for [`serving`]: no compression, two bytes, field 1 is 1.
pub(crate) const SERVING: &[u8] = &[0, 0, 0, 0, 2, 8, 1];

pub(crate) fn serving() -> HealthCheckResponse {
    HealthCheckResponse { status: 1 }
}

/// `check` answers behind the gate; `watch` gives one message at once, and behind the gate another
/// one and a failure.
pub(crate) struct GatedHealth(pub(crate) Gate);

#[tonic::async_trait]
impl Health for GatedHealth {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        self.0.clone().pass().await;
        Ok(Response::new(serving()))
    }

    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let gate = self.0.clone();
        let first = stream::iter([Ok(serving())]);
        let behind = stream::once(async {
            gate.pass().await;
            stream::iter([Ok(serving()), Err(Status::data_loss("bits, gone: 1%"))])
        });
        Ok(Response::new(Box::pin(first.chain(behind.flatten()))))
    }
}

/// Names the endpoint in the metadata.
pub(crate) fn layer(rig: &Rig) -> WebhookLayer {
    let header = http::HeaderName::from_static("x-webhook-endpoint");
    rig.layer().with_endpoint_header(header)
}

pub(crate) async fn serve<H: Health>(
    service: HealthServer<H>,
    layer: WebhookLayer,
) -> (SocketAddr, LetGo) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, let_go) = letting_go();
    let server = Server::builder()
        .layer(tell)
        .layer(layer)
        .add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    (address, let_go)
}

pub(crate) async fn client(server: SocketAddr) -> HealthClient<Channel> {
    let channel = Channel::from_shared(format!("http://{server}")).unwrap();
    HealthClient::new(channel.connect().await.unwrap())
}

/// A request for this service's health that asks for a webhook.
pub(crate) fn asking(rig: &Rig, service: &str) -> Request<HealthCheckRequest> {
    let service = service.to_owned();
    let mut request = Request::new(HealthCheckRequest { service });
    let endpoint = rig.receiver.url("/hook").parse().unwrap();
    request
        .metadata_mut()
        .insert("x-webhook-endpoint", endpoint);
    request
}
