//! Webhooks that the proxy signs with a key of its own, and the path where it says which one.

use std::{os::unix::fs::PermissionsExt, path::Path};

use axum::{Router, routing::any};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use reqwest::{Method, StatusCode};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::Value;

use crate::world::{Webhook, World};

const PATH: &str = "/.well-known/jwks.json";

fn service() -> Router {
    Router::new().fallback(any(|| async { "the service's own" }))
}

fn file(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The public keys that the proxy tells, as `x`.
async fn keys(world: &World) -> Vec<Vec<u8>> {
    let answer = world.plain(Method::GET, world.address, PATH).send();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["cache-control"], "public, max-age=3600");
    let set: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    let keys = set["keys"].as_array().unwrap().iter();
    keys.map(|key| {
        assert_eq!(
            (&key["kty"], &key["crv"]),
            (&"OKP".into(), &"Ed25519".into())
        );
        URL_SAFE_NO_PAD.decode(key["x"].as_str().unwrap()).unwrap()
    })
    .collect()
}

fn verify(webhook: &Webhook, keys: &[Vec<u8>]) {
    let text = |name: &str| webhook.headers[name].to_str().unwrap();
    let head = format!("{}.{}.", text("webhook-id"), text("webhook-timestamp"));
    let message = [head.as_bytes(), &webhook.body].concat();
    let several = text("webhook-signature").split(' ');
    let keyed: Vec<_> = several.filter_map(|one| one.strip_prefix("v1a,")).collect();
    assert_eq!(keyed.len(), keys.len());
    for (signature, key) in keyed.iter().zip(keys) {
        let signature = STANDARD.decode(signature).unwrap();
        let key = UnparsedPublicKey::new(&ED25519, key);
        key.verify(&message, &signature).unwrap();
    }
}

#[tokio::test]
async fn webhooks_are_signed_with_the_key_that_the_proxy_tells() {
    let folder = tempfile::tempdir().unwrap();
    let [new, old] = ["new", "old"].map(|name| folder.path().join(name));
    let args = [
        "--insecure-private-endpoints",
        "--signing-key-file",
        file(&old),
    ];
    let one = [&args[..], &["--keys-path", PATH]].concat();
    let mut world = World::of(service(), &one).await;
    let first = keys(&world).await;
    assert_eq!(first.len(), 1);
    let mode = std::fs::metadata(&old).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let called = world.call(Method::POST, "/run").send().await.unwrap();
    assert_eq!(called.status(), StatusCode::OK);
    verify(&world.webhook().await, &first);

    // The path is the proxy's, and every other one the service's.
    let post = world.plain(Method::POST, world.address, PATH).send();
    let post = post.await.unwrap();
    assert_eq!(post.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(post.headers()["allow"], "GET, HEAD");
    let head = world.plain(Method::HEAD, world.address, PATH).send();
    let head = head.await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);
    assert!(head.headers()["content-length"] != "0");
    let other = world.plain(Method::GET, world.address, "/.well-known/other");
    let other = other.send().await.unwrap();
    assert_eq!(other.text().await.unwrap(), "the service's own");

    // The next run has the same key; in a rotation both sign.
    let both = ["--insecure-private-endpoints", "--keys-path", PATH];
    let files = [
        "--signing-key-file",
        file(&new),
        "--signing-key-file",
        file(&old),
    ];
    let mut world = World::of(service(), &[&both[..], &files].concat()).await;
    let second = keys(&world).await;
    assert_eq!((second.len(), &second[1]), (2, &first[0]));
    assert_ne!(second[0], first[0]);
    world.call(Method::POST, "/run").send().await.unwrap();
    verify(&world.webhook().await, &second);

    // It is the default where there is a key; where there is none, the path is the service's too.
    let world = World::of(service(), &args).await;
    assert_eq!(keys(&world).await, first);
    let world = World::of(service(), &[]).await;
    let answer = world.plain(Method::GET, world.address, PATH).send();
    let text = answer.await.unwrap().text().await.unwrap();
    assert_eq!(text, "the service's own");
}
