//! A schema for one test.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio_postgres::{Client, NoTls};
use tower_webhook::outbox::SealingKey;
use tower_webhook_postgres::{PostgresOutbox, PostgresOutboxBuilder};

use super::server::{self, Server};

/// A server and a schema for one test.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) schema: String,
}

/// A schema on the shared server; `None` if PostgreSQL is not installed.
pub(crate) fn place() -> Option<Place> {
    server::shared().map(Server::place)
}

impl Server {
    pub(crate) fn place(&self) -> Place {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Place {
            url: self.url(),
            schema: format!("webhook test {number}"),
        }
    }

    /// A connection for the test itself.
    pub(crate) async fn sql(&self) -> Client {
        sql(&self.url()).await
    }
}

impl Place {
    pub(crate) fn builder(&self) -> PostgresOutboxBuilder {
        PostgresOutbox::builder(&self.url)
            .with_key(SealingKey::from_bytes([7; 32]))
            .with_schema(&self.schema)
    }

    pub(crate) async fn outbox(&self) -> PostgresOutbox {
        self.builder().open().await.unwrap()
    }

    /// A connection whose search path is the schema.
    pub(crate) async fn sql(&self) -> Client {
        let client = sql(&self.url).await;
        let path = format!("SET search_path = \"{}\"", self.schema.replace('"', "\"\""));
        client.batch_execute(&path).await.unwrap();
        client
    }

    pub(crate) async fn count(&self, table: &str, condition: &str) -> i64 {
        let query = format!("SELECT count(*) FROM {table} WHERE {condition}");
        self.sql()
            .await
            .query_one(&query, &[])
            .await
            .unwrap()
            .get(0)
    }
}

async fn sql(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}
