//! An axum API whose OpenAPI document is made by `utoipa`, and says what the layer adds: the document
//! is printed and served.
//!
//! ```sh
//! cargo run --example openapi_utoipa
//! ```

use axum::{
    Json, Router,
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tower_webhook::WebhookLayer;
use utoipa::{OpenApi, ToSchema};

#[derive(Deserialize, ToSchema)]
struct Prompt {
    prompt: String,
}

#[derive(Serialize, ToSchema)]
struct Picture {
    of: String,
}

/// Renders a picture
#[utoipa::path(
    post,
    path = "/run",
    request_body = Prompt,
    responses((status = 200, description = "The picture", body = Picture)),
)]
async fn run(Json(input): Json<Prompt>) -> Json<Picture> {
    Json(Picture { of: input.prompt })
}

#[derive(OpenApi)]
#[openapi(info(title = "Renderer", description = "Renders pictures"), paths(run))]
struct ApiDoc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let layer = WebhookLayer::new();

    let mut document = serde_json::to_value(ApiDoc::openapi())?;
    layer.openapi().patch(&mut document)?;
    println!("{document:#}");

    // The layer is around what was added before it: not around the document.
    let app = Router::new()
        .route("/run", post(run))
        .layer(layer)
        .route("/openapi.json", get(async || Json(document)));

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    eprintln!("served at http://{address}/openapi.json");
    axum::serve(listener, app).await?;
    Ok(())
}
