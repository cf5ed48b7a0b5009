//! An axum API whose OpenAPI document is made by `aide`, and says what the layer adds: the document is
//! printed and served.
//!
//! ```sh
//! cargo run --example openapi_aide
//! ```

use aide::{
    axum::{ApiRouter, routing::post},
    openapi::{Info, OpenApi},
};
use axum::{Json, routing::get};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tower_webhook::WebhookLayer;

#[derive(Deserialize, JsonSchema)]
struct Prompt {
    prompt: String,
}

#[derive(Serialize, JsonSchema)]
struct Picture {
    of: String,
}

async fn run(Json(input): Json<Prompt>) -> Json<Picture> {
    Json(Picture { of: input.prompt })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let layer = WebhookLayer::new();

    let mut api = OpenApi {
        info: Info {
            title: "Renderer".to_owned(),
            version: "1.0.0".to_owned(),
            ..Info::default()
        },
        ..OpenApi::default()
    };
    let app = ApiRouter::new()
        .api_route("/run", post(run))
        .layer(layer.clone())
        .finish_api(&mut api);

    // `api` is complete now that the router is.
    let mut document = serde_json::to_value(&api)?;
    layer.openapi().patch(&mut document)?;
    println!("{document:#}");

    // The layer is around what was added before it: not around the document.
    let app = app.route("/openapi.json", get(async || Json(document)));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    eprintln!("served at http://{address}/openapi.json");
    axum::serve(listener, app).await?;
    Ok(())
}
