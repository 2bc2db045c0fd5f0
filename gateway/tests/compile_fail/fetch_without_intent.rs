//! A source asks its database before the journal has the intent.
use xinguan::{app::App, stages::*};

async fn skip(app: &App, permitted: authorize::PermittedRequest) {
    let _ = fetch::snapshot(app, permitted).await;
}

fn main() {}
