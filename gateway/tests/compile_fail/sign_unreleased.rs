//! A source signs data that was not looked at again: the revocation in between.
use xinguan::{app::App, stages::*};

async fn skip(app: &App, fetched: fetch::Fetched) {
    let _ = answer::sign_reply(app, fetched).await;
}

fn main() {}
