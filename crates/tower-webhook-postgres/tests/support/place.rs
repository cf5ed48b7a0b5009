//! A schema of a test's own, on a server.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio_postgres::{Client, NoTls};
use tower_webhook::outbox::SealingKey;
use tower_webhook_postgres::{PostgresOutbox, PostgresOutboxBuilder};

use super::server::{self, Server};

/// A schema of a test's own.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) schema: String,
}

/// A schema on the server of this test binary; `None` where there is no PostgreSQL.
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

    /// A connection of the test's own.
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

    /// A connection that looks at the schema.
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
