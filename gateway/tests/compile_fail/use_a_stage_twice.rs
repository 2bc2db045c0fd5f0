//! One permit, two reservations; one release, two replies.
use xinguan::{app::App, stages::*};

async fn reserve_twice(app: &App, recorded: record::RecordedQuery) {
    let _ = reserve::one_use(app, recorded).await;
    let _ = reserve::one_use(app, recorded).await;
}

async fn sign_twice(app: &App, released: release::Released) {
    let _ = answer::sign_reply(app, released).await;
    let _ = answer::sign_reply(app, released).await;
}

fn main() {}
