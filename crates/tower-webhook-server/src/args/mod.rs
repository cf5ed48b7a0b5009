//! What the commands are told on the command line and in the environment.

mod calls;
mod deliveries;
mod endpoints;
mod environment;
mod late;
mod nats;
mod outbox;
mod outbox_url;
mod postgres;
mod secrets;
mod values;

pub(crate) use self::{
    calls::CallArgs,
    deliveries::DeliveryArgs,
    endpoints::EndpointArgs,
    environment::with_environment,
    outbox::{ForwardArgs, OutboxArgs},
    outbox_url::History,
    secrets::without_secrets,
    values::{longer_than_nothing, number, path, size},
};
