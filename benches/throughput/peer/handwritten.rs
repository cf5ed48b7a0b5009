//! The hand-written middleware with reqwest behind it.

use std::{sync::Arc, time::Duration};

use axum::{Router, middleware::from_fn_with_state};
use futures::{FutureExt, future::LocalBoxFuture};
use reqwest::{Client, redirect};

use super::{
    super::{
        endpoints::{host, requests},
        window::Window,
    },
    AT_ONCE, Load, Peer, forward,
    layered::app,
    timed,
};
use crate::support::handwritten::{Webhooks, webhook};

pub(crate) struct Handwritten {
    app: Router,
    window: Arc<Window>,
    endpoints: Vec<String>,
}

impl Handwritten {
    /// Delivers to the first receiver.
    pub(crate) fn new(endpoint: String) -> Self {
        let client = Client::builder()
            .pool_max_idle_per_host(AT_ONCE)
            .timeout(Duration::from_secs(15))
            .redirect(redirect::Policy::none())
            .tcp_nodelay(true)
            .no_proxy()
            .resolve(&host(0), ([127, 0, 0, 1], 0).into())
            .build()
            .expect("a client");
        let window = Arc::new(Window::default());
        let ends = Arc::clone(&window);
        let done = move |delivered| ends.leave(delivered);
        let webhooks = Webhooks::new(Some(client), AT_ONCE, done);
        Self {
            app: app().layer(from_fn_with_state(webhooks, webhook)),
            window,
            endpoints: vec![endpoint],
        }
    }
}

impl Peer for Handwritten {
    fn name(&self) -> &'static str {
        "hand-written"
    }

    fn run(&mut self, load: Load) -> LocalBoxFuture<'_, Duration> {
        async move {
            let requests = requests(load.number, &self.endpoints);
            let (mut app, window) = (self.app.clone(), Arc::clone(&self.window));
            let took = timed(async move {
                for request in requests {
                    window.room(load.outstanding).await;
                    window.enter();
                    forward(&mut app, request).await;
                }
                window.at_most(0).await;
            })
            .await;
            assert_eq!(self.window.lost(), 0, "every delivery gets there");
            took
        }
        .boxed_local()
    }
}
